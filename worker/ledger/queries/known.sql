-- Which of these numbers are orders.
SELECT o.order_no FROM orders o WHERE o.order_no = ANY($1::text[])
