-- The relay reads the log and what changes in views, of all tenants, and writes nothing.

grant usage on schema fieldlog to fieldlog_relay;
grant select on fieldlog.migrations, fieldlog.log, fieldlog.builds, fieldlog.views to fieldlog_relay;
grant select (build, tenant_id, position) on fieldlog.parked to fieldlog_relay;  -- an error may quote what was parked
grant execute on function fieldlog.head, fieldlog.recorded_after to fieldlog_relay;
create policy relay on fieldlog.log for select to fieldlog_relay using (true);
create policy relay on fieldlog.parked for select to fieldlog_relay using (true);

-- Lets the relay read what changes in a build.
create function fieldlog.show_to_relay(schema text) returns void language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    tab text;
begin
    execute format('grant usage on schema %I to fieldlog_relay', schema);
    foreach tab in array array['changes', 'moved'] loop
        execute format('grant select on %I.%I to fieldlog_relay', schema, tab);
        execute format('create policy relay on %I.%I for select to fieldlog_relay using (true)', schema, tab);
    end loop;
end $$;
revoke all on function fieldlog.show_to_relay from public;

select fieldlog.show_to_relay(context || '_' || build) from fieldlog.builds;
