CREATE TABLE IF NOT EXISTS tax_rates (code TEXT NOT NULL PRIMARY KEY, rate REAL NOT NULL);
INSERT INTO tax_rates (code, rate) VALUES ('standard', 0.19), ('reduced', 0.07);
