UPDATE orders SET note = coalesce(note, '');
SELECT pg_sleep(2.6);
