-- Views: which builds of a context there are, which one is served, and whose facts are parked.

create table fieldlog.builds (
    build        integer primary key generated always as identity,
    context      text        not null,
    version      integer     not null,             -- of the code that folds it
    position     bigint      not null default 0,   -- the bookmark: all facts until here are folded
    made_at      timestamptz not null default clock_timestamp(),
    switched_at  timestamptz,                      -- when it began to be served
    changes_from bigint      not null default 0    -- former states of rows are kept from here on
);

create table fieldlog.views (
    context text primary key,
    build   integer not null references fieldlog.builds
);

create table fieldlog.parked (
    build     integer     not null references fieldlog.builds on delete cascade,
    tenant_id uuid        not null,
    position  bigint      not null,                -- of the fact that could not be folded
    topic     text        not null,
    error     text        not null,
    parked_at timestamptz not null default clock_timestamp(),
    resume    boolean     not null default false,
    primary key (build, tenant_id)
);
alter table fieldlog.parked enable row level security;
alter table fieldlog.parked force row level security;
do $$
begin
    execute format('create policy house on fieldlog.parked to %I, fieldlog_writer, fieldlog_projector
                    using (true) with check (true)', current_user);
end $$;
create policy tenant on fieldlog.parked for select to fieldlog_reader
    using (tenant_id = (select nullif(current_setting('app.tenant', true), '')::uuid));

-- Moves a build's bookmark, in the transaction that writes its rows; whoever is not at `was` any more is fenced.
-- `whose` says which tenants' rows changed, with commas between their ids; `*`: anybody's.
create function fieldlog.move_bookmark(which integer, was bigint, now_at bigint, whose text default '*')
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    of_context text;
begin
    update fieldlog.builds b set position = now_at where b.build = which and b.position = was
        returning b.context into of_context;
    if not found then
        raise exception 'build % is not at position % any more', which, was using errcode = 'FL003';
    end if;
    perform pg_notify('fieldlog_positions', of_context || ' ' || which || ' ' || now_at || ' ' || whose);
end $$;

-- Lets readers see another build of a context from now on.
create function fieldlog.switch_view(which integer)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    update fieldlog.views v set build = which from fieldlog.builds b
     where b.build = which and v.context = b.context and v.build < which;
    if found then
        update fieldlog.builds set switched_at = clock_timestamp() where build = which;
        perform pg_notify('fieldlog_views', which::text);
    end if;
end $$;

grant select on fieldlog.builds, fieldlog.views to fieldlog_writer, fieldlog_projector, fieldlog_reader;
grant update on fieldlog.builds, fieldlog.views to fieldlog_projector;
grant select on fieldlog.parked to fieldlog_reader;
grant select, insert, update, delete on fieldlog.parked to fieldlog_projector;
grant execute on function fieldlog.move_bookmark, fieldlog.switch_view to fieldlog_projector;

-- Where the log is and how old what comes after a position is; for whoever may not see the facts themselves.
create function fieldlog.head() returns bigint language sql stable security definer set search_path = pg_catalog, pg_temp
return (select coalesce(max(l.notification_id), 0) from fieldlog.log l);
create function fieldlog.recorded_after(after bigint) returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp
return (select l.recorded_at from fieldlog.log l where l.notification_id > after order by l.notification_id limit 1);
revoke all on all functions in schema fieldlog from public;
grant execute on function fieldlog.head, fieldlog.recorded_after
    to fieldlog_writer, fieldlog_projector, fieldlog_reader;
