-- 300,000 rows in memory, two indices, queries that sort and group, updates and deletions.
PRAGMA temp_store = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INTEGER, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 300000), (i * 104729 % 100000) / 100.0, i % 97,
  substr('a note of some length that is cut somewhere or other', 1, i % 50) FROM n;
COMMIT;
CREATE INDEX by_name ON item (name);
CREATE INDEX by_kind ON item (kind, price);
SELECT count(*), sum(price), max(name) FROM item;
SELECT kind, count(*), round(avg(price), 3) FROM item GROUP BY kind ORDER BY 3 DESC LIMIT 5;
SELECT a.name, b.name FROM item a JOIN item b ON b.kind = a.kind AND b.price = a.price AND b.id < a.id ORDER BY a.name LIMIT 5;
UPDATE item SET note = note || ' and more', name = name || 'x' WHERE id % 3 = 0;
DELETE FROM item WHERE id % 5 = 0;
SELECT count(*), sum(length(note)), min(name) FROM item;
SELECT group_concat(name) FROM (SELECT name FROM item ORDER BY note, name LIMIT 10);
