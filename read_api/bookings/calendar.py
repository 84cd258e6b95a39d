"""Today, by the organisation's calendar."""

# The local date by the time zone that is in force on it; no row before the organisation has opened.
TODAY = """(select (now() at time zone z.time_zone)::date as today
        from {schema}.calendar c, jsonb_to_recordset(c.zones) z(from_date date, time_zone text)
       where z.from_date <= (now() at time zone z.time_zone)::date order by z.from_date desc limit 1) n"""
