ALTER TABLE customers ADD CONSTRAINT customers_referrer_fk
  FOREIGN KEY (referrer_id) REFERENCES referrers (id) NOT VALID;
