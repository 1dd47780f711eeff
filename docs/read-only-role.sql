-- A role for analysts and dashboards on PostgreSQL: it reads what was received and measured, and no secret.
--
--     psql "$DATABASE_URL" -f docs/read-only-role.sql
--     CREATE ROLE anna LOGIN PASSWORD '…' IN ROLE receiver_reader;
--     ALTER ROLE anna SET statement_timeout = '60s';    -- a query that runs for ever holds up the clean-up of old rows
--
-- Run it again after an upgrade of the schema. It may be run any number of times.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'receiver_reader') THEN
        CREATE ROLE receiver_reader NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object THEN NULL; -- somebody else made it just now
END
$$;

GRANT USAGE ON SCHEMA public TO receiver_reader;

GRANT SELECT ON
    connections, tunnel_key_uses, devices, sessions, uplinks, receptions, locations, notifications, deliveries,
    uplink_gaps, telemetry, lorawan_telemetry, series, telemetry_values, decodings, undecoded,
    codecs, codec_versions, codec_assignments, redecodings, events, untold_rejections, downlinks, downlink_events,
    downlink_keys, downlink_transports, things_devices, alarms, traffic, platform_polls, device_runs, device_run_rows,
    revisions, alembic_version
TO receiver_reader;

-- Of forwarders not where they send to: a URL may be a secret by itself.
GRANT SELECT (id, name, kind, wants, give_up_after_s, created_at, version, paused_at, paused_because, holds_events, position,
    delivered, last_delivered_at, last_error, last_error_at, away_since, lease_beat)
ON forwarders TO receiver_reader;
GRANT SELECT ON forwarder_retries TO receiver_reader;

-- Of pushes not what they held: bodies may name session keys, and a refused query holds its token.
GRANT SELECT (id, connection_id, kind, content_type, dev_eui, received_at, sent_at, deliveries, state, note)
ON reports TO receiver_reader;
GRANT SELECT (id, connection_id, path_name, received_at, reason, detail, size_bytes, replayed_at, replayed_report_id)
ON rejections TO receiver_reader;
