-- The log: every fact, in one dense order. Nothing in it is ever changed; the triggers below refuse even its owner.

create table fieldlog.log (
    notification_id    bigint      not null,  -- the position: 1..N without gaps, in the order of commit
    originator_id      uuid        not null,  -- the stream: uuid5(tenant, stream || '/' || id)
    originator_version bigint      not null,
    tenant_id          uuid        not null,
    tenant_seq         bigint      not null,  -- 1..n without gaps in each tenant
    recorded_at        timestamptz not null,  -- never before its predecessor's
    occurred_at        timestamptz not null,
    command_id         uuid        not null,
    command_index      integer     not null,  -- the fact's place among the facts of its command
    topic              text        not null,
    stream             text        not null,
    id                 text        not null,
    state              bytea       not null,
    envelope           bytea       not null,
    leaf               bytea       not null,
    primary key (originator_id, originator_version)
);
create unique index log_position on fieldlog.log (notification_id);
create unique index log_command on fieldlog.log (command_id, command_index);
create unique index log_tenant on fieldlog.log (tenant_id, notification_id);
alter table fieldlog.log set (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

create function fieldlog.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the log is append-only: % is refused', tg_op using errcode = 'FL002';
end $$;
create trigger log_is_append_only before update or delete on fieldlog.log
    for each row execute function fieldlog.refuse_change();
create trigger log_is_never_emptied before truncate on fieldlog.log
    for each statement execute function fieldlog.refuse_change();

-- The only way into the log. Each batch is one call: all appends in it are answered in order, under one lock, so positions
-- are dense and commit in their order. Slots are the distinct streams that the batch reads or writes; a read says at which
-- version an append's decision saw a stream. The plan has, for each append, how many reads and facts it has, then slot and
-- version of each read, then the slot of each fact. Answers: 0 already done, 1 appended, 2 moved (what it read is no longer so).
-- Where an append is left out, whatever later in the batch was decided on its facts is left out too.
create function fieldlog.append(
    tenants uuid[],
    slot_tenant integer[], slot_originator uuid[], slot_stream text[], slot_id text[],
    append_command uuid[], plan bigint[],
    fact_topic text[], fact_state bytea[], fact_envelope bytea[], fact_occurred timestamptz[],
    out head bigint, out answers integer[], out moved_slots integer[]
) language plpgsql volatile security definer
-- Plans are made once, and by index: a plan that flips to a scan would hold the lock of all writers.
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    recorded timestamptz;
    done uuid[];
    versions bigint[];
    seqs bigint[];
    broken boolean[];
    fact_append integer[] := '{}';
    fact_slot integer[] := '{}';
    fact_position bigint[] := '{}';
    fact_version bigint[] := '{}';
    fact_seq bigint[] := '{}';
    fact_index integer[] := '{}';
    last bigint;
    p integer := 1;  -- where in the plan
    f integer := 0;  -- which fact
    reads integer;
    facts integer;
    slot integer;
    answer integer;
    moved integer;
begin
    perform pg_advisory_xact_lock(7305210331);
    -- A statement of its own, after the lock: it sees everything that committed before.
    select coalesce(tip.notification_id, 0),
           greatest(clock_timestamp(), tip.recorded_at),
           array(select distinct l.command_id from fieldlog.log l where l.command_id = any(append_command)),
           array(select case when h.tenant_id <> tenants[s.tenant] or h.stream <> s.stream or h.id <> s.id then -9
                             else h.originator_version end
                   from unnest(slot_originator, slot_tenant, slot_stream, slot_id)
                        with ordinality s(originator, tenant, stream, id, n)
                   left join lateral (select l.originator_version, l.tenant_id, l.stream, l.id from fieldlog.log l
                                       where l.originator_id = s.originator
                                       order by l.originator_version desc limit 1) h on true
                  order by s.n),
           array(select coalesce((select l.tenant_seq from fieldlog.log l where l.tenant_id = t.tenant
                                   order by l.notification_id desc limit 1), 0)
                   from unnest(tenants) with ordinality t(tenant, n) order by t.n)
      into head, recorded, done, versions, seqs
      from (select 1) one
      left join lateral (select l.notification_id, l.recorded_at from fieldlog.log l
                          order by l.notification_id desc limit 1) tip on true;
    if -9 = any(versions) then
        raise exception 'a fact names another tenant or stream than its stream has' using errcode = 'FL001';
    end if;
    broken := array_fill(false, array[cardinality(slot_originator)]);
    last := head;
    answers := '{}';
    moved_slots := '{}';
    for i in 1 .. cardinality(append_command) loop
        answer := case when append_command[i] = any(done) then 0 else 1 end;
        moved := 0;
        reads := plan[p];
        facts := plan[p + 1];
        p := p + 2;
        for r in 1 .. reads loop
            slot := plan[p + 2 * r - 2];
            -- A stream without facts begins at 1, or at 0 as the eventsourcing library's may.
            if answer = 1 and (broken[slot] or coalesce(versions[slot], least(plan[p + 2 * r - 1], 0)) <> plan[p + 2 * r - 1]) then
                answer := 2;
                moved := slot;
            end if;
        end loop;
        if answer = 1 and facts > 0 then
            for r in 1 .. reads loop
                versions[plan[p + 2 * r - 2]] := plan[p + 2 * r - 1];
            end loop;
        end if;
        p := p + 2 * reads;
        for k in 1 .. facts loop
            f := f + 1;
            slot := plan[p];
            p := p + 1;
            fact_append[f] := i;
            fact_slot[f] := slot;
            if answer = 1 then
                last := last + 1;
                versions[slot] := versions[slot] + 1;
                seqs[slot_tenant[slot]] := seqs[slot_tenant[slot]] + 1;
                fact_position[f] := last;
                fact_version[f] := versions[slot];
                fact_seq[f] := seqs[slot_tenant[slot]];
                fact_index[f] := k - 1;
            else
                broken[slot] := true;
                fact_position[f] := null;
            end if;
        end loop;
        answers[i] := answer;
        moved_slots[i] := moved;
    end loop;
    if last > head then
        insert into fieldlog.log (notification_id, originator_id, originator_version, tenant_id, tenant_seq, recorded_at,
                                  occurred_at, command_id, command_index, topic, stream, id, state, envelope, leaf)
        select p.position, s.originator, p.version, tenants[s.tenant], p.seq, recorded,
               p.occurred, append_command[p.append], p.index, p.topic, s.stream, s.id, p.state, p.envelope,
               -- docs/log.md has the layout as a table, with test vectors.
               sha256('\x0001'::bytea
                   || int4send(16) || uuid_send(tenants[s.tenant]) || int4send(8) || int8send(p.seq)
                   || int4send(16) || uuid_send(s.originator) || int4send(8) || int8send(p.version)
                   || int4send(8) || timestamptz_send(recorded) || int4send(8) || timestamptz_send(p.occurred)
                   || int4send(16) || uuid_send(append_command[p.append]) || int4send(4) || int4send(p.index)
                   || int4send(octet_length(p.topic)) || convert_to(p.topic, 'UTF8')
                   || int4send(octet_length(s.stream)) || convert_to(s.stream, 'UTF8')
                   || int4send(octet_length(s.id)) || convert_to(s.id, 'UTF8')
                   || int4send(octet_length(p.state)) || p.state
                   || int4send(octet_length(p.envelope)) || p.envelope)
          from unnest(fact_position, fact_append, fact_slot, fact_version, fact_seq, fact_index,
                      fact_topic, fact_state, fact_envelope, fact_occurred)
               p(position, append, slot, version, seq, index, topic, state, envelope, occurred)
          join unnest(slot_originator, slot_tenant, slot_stream, slot_id) with ordinality s(originator, tenant, stream, id, n)
            on s.n = p.slot
         where p.position is not null;
        perform pg_notify('fieldlog_log', last::text);
    end if;
end $$;

-- Keys of personal data, outside of the log: destroying one erases what it encrypted and leaves every hash as it is.
create table fieldlog.keys (
    key_id       uuid primary key,
    tenant_id    uuid        not null,
    person_id    uuid        not null,
    day          date,                    -- fixes have a key per UTC day of arrival
    wrapped      bytea,                   -- null: destroyed
    master_id    text        not null,    -- which master key wraps it
    made_at      timestamptz not null default clock_timestamp(),
    destroyed_at timestamptz,
    check ((wrapped is null) = (destroyed_at is not null))
);
create unique index keys_person on fieldlog.keys (tenant_id, person_id, day) nulls not distinct where wrapped is not null;
create index keys_day on fieldlog.keys (tenant_id, day) where day is not null and wrapped is not null;

-- Keeps these keys where their person has none yet, and returns the ones that count.
create function fieldlog.keep_keys(
    key_ids uuid[], tenants uuid[], people uuid[], days date[], wraps bytea[], master text
) returns setof fieldlog.keys language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into fieldlog.keys (key_id, tenant_id, person_id, day, wrapped, master_id)
    select k.key_id, k.tenant_id, k.person_id, k.day, k.wrapped, master
      from unnest(key_ids, tenants, people, days, wraps) k(key_id, tenant_id, person_id, day, wrapped)
        on conflict (tenant_id, person_id, day) where wrapped is not null do nothing;
    select k.* from unnest(tenants, people, days) p(tenant_id, person_id, day)
      join fieldlog.keys k on k.tenant_id = p.tenant_id and k.person_id = p.person_id
       and k.day is not distinct from p.day and k.wrapped is not null;
$$;

-- Destroys the keys of the fixes of a tenant that arrived until a UTC day; tells every process that remembers them.
create function fieldlog.destroy_daily_keys(tenant uuid, through date)
returns bigint language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    gone bigint;
begin
    update fieldlog.keys set wrapped = null, destroyed_at = clock_timestamp()
     where tenant_id = tenant and day <= through and wrapped is not null;
    get diagnostics gone = row_count;
    if gone > 0 then
        perform pg_notify('fieldlog_keys', tenant::text);
    end if;
    return gone;
end $$;

-- How far somebody has read the log.
create table fieldlog.bookmarks (
    name     text primary key,
    position bigint not null
);

do $$
declare
    tab text;
begin
    foreach tab in array array['log', 'keys'] loop
        execute format('alter table fieldlog.%I enable row level security', tab);
        execute format('alter table fieldlog.%I force row level security', tab);
        execute format('create policy house on fieldlog.%I to %I, fieldlog_writer, fieldlog_projector
                        using (true) with check (true)', tab, current_user);
    end loop;
end $$;
create policy tenant on fieldlog.log for select to fieldlog_reader
    using (tenant_id = (select nullif(current_setting('app.tenant', true), '')::uuid));

revoke all on all functions in schema fieldlog from public;
grant usage on schema fieldlog to fieldlog_writer, fieldlog_projector, fieldlog_reader;
grant select on fieldlog.migrations to fieldlog_writer, fieldlog_projector, fieldlog_reader;
grant select on fieldlog.log to fieldlog_writer, fieldlog_projector, fieldlog_reader;
grant select on fieldlog.keys to fieldlog_writer, fieldlog_projector;
grant select, insert, update on fieldlog.bookmarks to fieldlog_writer, fieldlog_projector;
grant execute on function fieldlog.append to fieldlog_writer;
grant execute on function fieldlog.keep_keys to fieldlog_writer;
grant execute on function fieldlog.destroy_daily_keys to fieldlog_writer;
