-- The schema as it is, for reading; the migrations make it, and a test proves the two equal. What else `worker migrate`
-- keeps: `schema_version`, the rows of `transitions` (from the machine's own table) and the journal's months.

-- --- Shared --------------------------------------------------------------------------------------------------------

-- Refuses what its trigger is about; the trigger's argument says why.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END
$$;

-- What has to be done about an order in this state; NULL: nothing, so it has no alarm.
CREATE FUNCTION task_of(state text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN state = 'queued' THEN 'submit'
        WHEN state = 'submitting' THEN 'lease'
        WHEN state IN ('unknown', 'pending', 'awaiting_payment') THEN 'query'
    END
$$;

-- Whether a number reads as a second or later attempt's ("T1R2"), be it one or an order's own.
CREATE FUNCTION is_later_number(reference text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT reference ~ '.R([2-9]|[1-9][0-9]+)$'
$$;

-- --- What the machine allows ---------------------------------------------------------------------------------------

-- The steps that the machine allows; `worker migrate` fills it from the machine's own table.
CREATE TABLE transitions (
    from_state text,
    to_state text NOT NULL,
    cause text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (to_state, cause, from_state)
);

-- --- Orders --------------------------------------------------------------------------------------------------------

-- One row an order. No column that changes is indexed, and a page keeps room, so that updates stay in the page (HOT).
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_no text NOT NULL UNIQUE,
    source text NOT NULL,
    product text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    target jsonb NOT NULL,
    digest bytea NOT NULL,
    route text[] NOT NULL,
    expires_at timestamptz,
    correlation_id text,
    created_at timestamptz NOT NULL DEFAULT now(),

    state text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    gateway text NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    sending integer NOT NULL CHECK (sending >= 0),
    upstream_no text,
    arrived_fen bigint CHECK (arrived_fen >= 0),
    cost_fen bigint CHECK (cost_fen >= 0),
    reason_code text,
    reason_message text,
    payment jsonb,
    payment_expires_at timestamptz,
    sent_at timestamptz,
    queries integer NOT NULL DEFAULT 0,
    unsent integer NOT NULL DEFAULT 0,
    absent_count integer NOT NULL DEFAULT 0,
    absent_since timestamptz,
    doubt_code text,
    doubt_message text,
    review_kind text,
    noted text,
    delivered boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    revision integer NOT NULL DEFAULT 1,
    write_token bigint NOT NULL,
    trace text,
    cancelling boolean NOT NULL DEFAULT false,

    CONSTRAINT known_state CHECK (state IN (
        'queued', 'submitting', 'unknown', 'pending', 'awaiting_payment', 'review',
        'succeeded', 'partial', 'failed', 'cancelled', 'refunded'
    )),
    CONSTRAINT review_has_a_kind CHECK ((state = 'review') = (review_kind IS NOT NULL)),
    CONSTRAINT partial_says_how_much CHECK (state <> 'partial' OR arrived_fen IS NOT NULL),
    CONSTRAINT open_means_sent CHECK (
        sent_at IS NOT NULL OR state NOT IN ('submitting', 'unknown', 'pending', 'awaiting_payment')
    )
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON orders
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('an order that is forgotten could be sent again');

CREATE TRIGGER asked_for BEFORE UPDATE OF
        id, order_no, source, product, amount_fen, target, digest, route, expires_at, correlation_id, created_at
    ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what was asked for never changes');

-- --- Alarms --------------------------------------------------------------------------------------------------------

-- When an open order needs attention next, and for what. The only table that the scheduler scans.
CREATE TABLE alarms (
    order_id bigint PRIMARY KEY,
    gateway text NOT NULL,
    product text NOT NULL,
    task text NOT NULL CHECK (task IN ('submit', 'lease', 'query')),
    due_at timestamptz NOT NULL,
    expires_at timestamptz
) WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX alarms_due ON alarms (gateway, task, due_at);

CREATE INDEX alarms_expiring ON alarms (expires_at) WHERE expires_at IS NOT NULL;

CREATE TRIGGER no_truncate BEFORE TRUNCATE ON alarms
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('open orders need their alarms');

-- --- Watched --------------------------------------------------------------------------------------------------------

-- The orders in states that people watch, and since when. An index on the state of `orders` would cost every order its
-- updates in the page; these states are rare, so a table of them costs next to nothing.
CREATE TABLE watched (
    order_id bigint PRIMARY KEY REFERENCES orders (id),
    gateway text NOT NULL,
    state text NOT NULL CHECK (state IN ('unknown', 'awaiting_payment', 'review')),
    amount_fen bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
) WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

-- --- Numbers -------------------------------------------------------------------------------------------------------

-- The numbers of second and later attempts ("T1R2"), and of orders that are named like one: none is ever used twice.
CREATE TABLE attempts (
    reference text PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES orders (id),
    attempt integer NOT NULL CHECK (attempt > 0),
    gateway text NOT NULL,
    UNIQUE (order_id, attempt)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON attempts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a number stays taken');

-- --- Journal -------------------------------------------------------------------------------------------------------

-- What happened to each order, append-only, by month: old months are detached, never deleted from.
CREATE TABLE journal (
    order_id bigint NOT NULL,
    version integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    from_state text,
    to_state text NOT NULL,
    cause text NOT NULL,
    attempt integer NOT NULL,
    code text,
    message text,
    evidence jsonb
) PARTITION BY RANGE (at);

CREATE INDEX journal_order ON journal (order_id, version);

-- What was settled, or handed to a person, in a period. The journal only grows, so each line is indexed once.
CREATE INDEX journal_settled ON journal (at, order_id)
    WHERE to_state IN ('succeeded', 'partial', 'failed', 'cancelled', 'refunded', 'review')
      AND from_state IS DISTINCT FROM to_state;

CREATE TABLE journal_default PARTITION OF journal DEFAULT;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON journal
    FOR EACH ROW EXECUTE FUNCTION refuse_change('it is append-only');

CREATE TRIGGER no_truncate BEFORE TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('it is append-only');

-- What is written to a partition itself would escape the triggers of the whole.
CREATE TRIGGER behind_journal BEFORE INSERT OR TRUNCATE ON journal_default
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('write to journal, which is append-only');

-- Makes the partitions of this month and the next `ahead`; safe to repeat and to run at the same time. A month that has
-- lines in the default partition already stays there: lines are never moved.
CREATE FUNCTION ensure_journal_months(ahead integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz;
    last timestamptz;
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('worker.journal_months'));
    FOR n IN 0..ahead LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n)) AT TIME ZONE 'UTC';
        last := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n + 1)) AT TIME ZONE 'UTC';
        partition := 'journal_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL
            OR EXISTS (SELECT FROM journal_default WHERE at >= first AND at < last);
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF journal FOR VALUES FROM (%L) TO (%L)', partition, first, last
        );
        EXECUTE format(
            'CREATE TRIGGER behind_journal BEFORE INSERT OR TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change(%L)',
            partition, 'write to journal, which is append-only'
        );
    END LOOP;
END
$$;

-- --- Outbox --------------------------------------------------------------------------------------------------------

-- Events that are committed and not yet confirmed by the broker. Whoever wrote or took one publishes it till `held_until`.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL,
    key text NOT NULL,
    body bytea NOT NULL,
    correlation_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    held_until timestamptz NOT NULL,
    trace text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX outbox_held ON outbox (held_until);

-- --- Hints ---------------------------------------------------------------------------------------------------------

-- What callbacks without proof say of attempts that no alarm rings for. Each is kept until its gateway has answered.
CREATE TABLE hints (
    order_id bigint NOT NULL REFERENCES orders (id),
    attempt integer NOT NULL CHECK (attempt > 0),
    gateway text NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    asked integer NOT NULL DEFAULT 0,
    PRIMARY KEY (order_id, attempt, gateway)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX hints_due ON hints (gateway, due_at);

-- --- Cards ---------------------------------------------------------------------------------------------------------

-- Cards at gateways that orders are paid onto: ours by the digest of its number, theirs by its id. Nothing about a
-- person is here but the masked number: the fields themselves come with each order, and are compared by their digest.
CREATE TABLE cards (
    gateway text NOT NULL,
    owner text NOT NULL,
    kind text NOT NULL,
    key bytea NOT NULL CHECK (length(key) = 32),
    shown text NOT NULL,
    card_id text CHECK (card_id <> ''),
    digest bytea CHECK (digest IS NULL OR (card_id IS NOT NULL AND length(digest) = 32)),
    token bigint NOT NULL,
    changing boolean NOT NULL DEFAULT true CHECK (NOT (changing AND (users > 0 OR digest IS NOT NULL))),
    users integer NOT NULL DEFAULT 0 CHECK (users >= 0),
    held_until timestamptz NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway, owner, kind, key),
    UNIQUE (gateway, owner, kind, card_id)
) WITH (fillfactor = 70);

-- --- Gateways ------------------------------------------------------------------------------------------------------

-- What all workers share about a gateway. Paused: no submit begins there, orders wait as `queued`; an automatic pause
-- (our money there is used up) ends by itself, one by hand does not. `lowest_fen` and `needed_fen` are of an automatic
-- pause: the lowest balance since it began, and the amount of the smallest order that waits.
CREATE TABLE gateways (
    gateway text PRIMARY KEY,
    paused_at timestamptz,
    paused_by text CHECK (paused_by <> ''),
    pause_note text,
    automatic boolean,
    try_at timestamptz,
    lowest_fen bigint,
    needed_fen bigint,
    balance_fen bigint,
    balance_at timestamptz,
    spent_per_hour_fen bigint CHECK (spent_per_hour_fen >= 0),
    ask_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nulls(paused_at, paused_by, pause_note, automatic) IN (0, 4)),
    CHECK ((try_at IS NOT NULL) = (automatic IS TRUE)),
    CHECK (automatic IS TRUE OR num_nonnulls(lowest_fen, needed_fen) = 0),
    CHECK (num_nulls(balance_fen, balance_at) IN (0, 2))
) WITH (fillfactor = 50);

-- Every balance that a gateway told us, and when it was asked: calls that were in flight then may be in it or not.
CREATE TABLE balances (
    gateway text NOT NULL,
    at timestamptz NOT NULL,
    balance_fen bigint NOT NULL,
    PRIMARY KEY (gateway, at)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON balances
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('it is append-only');

-- What only a worker itself knows of a gateway, written every few seconds as long as it lives.
CREATE TABLE heartbeats (
    worker text NOT NULL,
    gateway text NOT NULL,
    breaker text NOT NULL CHECK (breaker IN ('closed', 'open', 'half_open')),
    in_flight integer NOT NULL CHECK (in_flight >= 0),
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker, gateway)
) WITH (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

-- --- Reconciliations ------------------------------------------------------------------------------------------------

-- Runs of `worker reconcile`: one that was interrupted goes on, one that is over leaves only this row.
CREATE TABLE reconciliations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (until > since),
    gateway text,
    started_at timestamptz NOT NULL DEFAULT now(),
    listed_at timestamptz,
    finished_at timestamptz,
    compared integer,
    differences integer
);

CREATE UNIQUE INDEX reconciliations_open ON reconciliations (since, until, gateway) NULLS NOT DISTINCT
    WHERE finished_at IS NULL;

-- The attempts that a run compares, and what it has found so far: no `asked_at`, no answer yet; no `class`, they agree.
CREATE TABLE reconciled (
    reconciliation_id bigint NOT NULL REFERENCES reconciliations (id),
    gateway text NOT NULL,
    order_id bigint NOT NULL REFERENCES orders (id),
    attempt integer NOT NULL CHECK (attempt > 0),
    asked_at timestamptz,
    class text,
    state text,
    answer text,
    ours_fen bigint,
    theirs_fen bigint,
    amount_fen bigint CHECK (amount_fen >= 0),
    cost_fen bigint,
    detail text,
    action text,
    applied text,
    PRIMARY KEY (reconciliation_id, gateway, order_id, attempt),
    CHECK ((class IS NULL) = (amount_fen IS NULL))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- --- Rules that join tables; each runs once a statement ------------------------------------------------------------

-- Refuses a line that the machine does not allow, or that is not about the order as it now stands.
CREATE FUNCTION check_journal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT a.order_id, a.from_state, a.to_state, a.cause INTO wrong
      FROM added a LEFT JOIN orders o ON o.id = a.order_id
     WHERE (o.version, o.state) IS DISTINCT FROM (a.version, a.to_state)
        OR NOT EXISTS (
        SELECT FROM transitions t
         WHERE t.to_state = a.to_state AND t.cause = a.cause AND t.from_state IS NOT DISTINCT FROM a.from_state
     )
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: % -> % because of % is not a transition of it', wrong.order_id,
            coalesce(wrong.from_state, '(new)'), wrong.to_state, wrong.cause USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER is_legal AFTER INSERT ON journal REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_journal();

-- Refuses an open order without its alarm, and a closed one with one. It runs once a statement: a batch pays once.
CREATE FUNCTION check_order_alarms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n LEFT JOIN alarms a ON a.order_id = n.id
     WHERE a.task IS DISTINCT FROM task_of(n.state) OR a.gateway <> n.gateway
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: its alarm does not fit its state', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

-- Refuses a new order without its first line in the journal, or whose number could become another's later attempt.
CREATE FUNCTION check_order_admissions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n
     WHERE (n.version, n.revision, n.attempt) <> (1, 1, 1)
        OR NOT EXISTS (
        SELECT FROM journal j
         WHERE j.order_id = n.id AND j.version = 1 AND j.at = now() AND j.from_state IS NULL AND j.to_state = n.state
     )
        OR (is_later_number(n.order_no) AND NOT EXISTS (
        SELECT FROM attempts a WHERE a.reference = n.order_no AND a.order_id = n.id
     ))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: admitted without its line in the journal, or without its number', wrong
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

-- Refuses a change that is not one step of the journal, an end without evidence, a number that is not the order's, and
-- money that moves without a step.
CREATE FUNCTION check_order_steps() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n JOIN before b ON b.id = n.id
     WHERE n.revision <> b.revision + 1
        OR n.version NOT IN (b.version, b.version + 1)
        OR n.sending < b.sending
        OR (n.version = b.version AND (
            (n.state, n.attempt, n.sending, n.arrived_fen, n.cost_fen, n.delivered, n.sent_at)
            IS DISTINCT FROM
            (b.state, b.attempt, b.sending, b.arrived_fen, b.cost_fen, b.delivered, b.sent_at)
        ))
        OR (n.attempt = b.attempt AND n.gateway <> b.gateway)
        OR (n.attempt <> b.attempt AND (n.attempt < b.attempt OR NOT EXISTS (
            SELECT FROM attempts a
             WHERE a.reference = n.order_no || 'R' || n.attempt AND a.order_id = n.id AND a.attempt = n.attempt
        )))
        OR (n.attempt <> b.attempt AND (n.state <> 'queued' OR NOT EXISTS (
            SELECT FROM journal j
             WHERE j.order_id = n.id AND j.version = n.version AND j.at = now()
               AND (j.cause = 'resubmitted' OR (NOT b.cancelling AND j.cause IN ('rejected', 'refused', 'unfunded')))
        )))
        OR (n.version > b.version AND NOT EXISTS (
            SELECT FROM journal j
             WHERE j.order_id = n.id AND j.version = n.version AND j.at = now()
               AND j.from_state = b.state AND j.to_state = n.state
               AND (
                    coalesce(j.evidence, 'null') NOT IN ('null', '{}', '[]', '""')
                    OR n.state NOT IN ('succeeded', 'partial', 'failed', 'cancelled', 'refunded')
               )
        ))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: not a step of its journal, or an end without evidence', wrong
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER admitted AFTER INSERT ON orders REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION check_order_admissions();

CREATE TRIGGER admitted_alarms AFTER INSERT ON orders REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION check_order_alarms();

CREATE TRIGGER stepped AFTER UPDATE ON orders REFERENCING OLD TABLE AS before NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION check_order_steps();

CREATE TRIGGER stepped_alarms AFTER UPDATE ON orders REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION check_order_alarms();

-- Keeps `watched` as the orders are. No order is admitted in such a state, so only steps matter.
CREATE FUNCTION watch_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM before WHERE state IN ('unknown', 'awaiting_payment', 'review')) THEN
        DELETE FROM watched w
         WHERE w.order_id IN (
            SELECT id FROM written WHERE state NOT IN ('unknown', 'awaiting_payment', 'review')
         );
    END IF;
    IF EXISTS (SELECT FROM written WHERE state IN ('unknown', 'awaiting_payment', 'review')) THEN
        INSERT INTO watched AS w (order_id, gateway, state, amount_fen)
        SELECT id, gateway, state, amount_fen FROM written
         WHERE state IN ('unknown', 'awaiting_payment', 'review')
         ORDER BY id
            ON CONFLICT (order_id) DO UPDATE
           SET gateway = EXCLUDED.gateway, state = EXCLUDED.state, since = EXCLUDED.since
         WHERE (w.gateway, w.state) <> (EXCLUDED.gateway, EXCLUDED.state);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER stepped_watched AFTER UPDATE ON orders REFERENCING OLD TABLE AS before NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION watch_orders();

-- Refuses to take the alarm from an order that is still open.
CREATE FUNCTION check_gone_alarms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT o.order_no INTO wrong
      FROM gone g JOIN orders o ON o.id = g.order_id
     WHERE task_of(o.state) IS NOT NULL AND NOT EXISTS (SELECT FROM alarms a WHERE a.order_id = g.order_id)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: it is open and must keep an alarm', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER deleted AFTER DELETE ON alarms REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION check_gone_alarms();

-- Refuses an alarm that does not fit its order, or that has none.
CREATE FUNCTION check_alarms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT w.order_id INTO wrong
      FROM written w LEFT JOIN orders o ON o.id = w.order_id
     WHERE (w.task, w.gateway, w.product) IS DISTINCT FROM (task_of(o.state), o.gateway, o.product)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the alarm of order % does not fit it', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER inserted AFTER INSERT ON alarms REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION check_alarms();

CREATE TRIGGER updated AFTER UPDATE ON alarms REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION check_alarms();
