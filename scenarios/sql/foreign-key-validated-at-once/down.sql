ALTER TABLE customers DROP CONSTRAINT customers_referrer_fk;
