-- What sqlite3 is recorded with: a table with an index filled in one go and row by row, queried, grouped, changed and thinned.
CREATE TABLE word(id INTEGER PRIMARY KEY, name TEXT, size INTEGER, note TEXT);
CREATE INDEX by_name ON word(name);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO word
SELECT i, printf('%x-%d', (i * 2654435761) % 4294967296, i), (i * 7919) % 1000, substr(hex(i * 1234567891), 1, i % 14) FROM n;
