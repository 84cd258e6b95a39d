"""Today and whole days, by the organisation's calendar; no row before the organisation has opened."""

_ZONES = "{schema}.calendar c, jsonb_to_recordset(c.zones) z(from_date date, time_zone text)"

# The local date by the time zone that is in force on it.
TODAY = f"""(select (now() at time zone z.time_zone)::date as today
        from {_ZONES}
       where z.from_date <= (now() at time zone z.time_zone)::date order by z.from_date desc limit 1) n"""

# When the local date `day` begins, and when the next one does.
DAY = f"""(select %(day)s::date::timestamp at time zone z.time_zone as begins,
             (%(day)s::date + 1)::timestamp at time zone z.time_zone as ends
        from {_ZONES}
       where z.from_date <= %(day)s order by z.from_date desc limit 1) n"""
