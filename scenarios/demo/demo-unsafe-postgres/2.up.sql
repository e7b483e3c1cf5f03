SELECT pg_sleep(0.4); -- an index build, a coffee
