-- Reactions that keep failing for technical reasons: left out at their cause, until they are resumed.
create table fieldlog.parked_causes (
    reaction  text        not null,
    position  bigint      not null,  -- of the fact that is the cause
    tenant_id uuid        not null,
    error     text        not null,
    parked_at timestamptz not null default clock_timestamp(),
    resume    boolean     not null default false,
    primary key (reaction, position)
);
grant select, insert, update, delete on fieldlog.parked_causes to fieldlog_projector;
