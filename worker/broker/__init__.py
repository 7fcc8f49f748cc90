"""RabbitMQ: the topology as data, consuming with one ack policy, publishing with confirms.

The only room that knows aiormq and pamqp. Connections are plain and under our own supervision.
"""
