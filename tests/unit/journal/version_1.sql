-- A journal of format version 1, as docs/formats/journal.md describes it. Written once, never regenerated: what stands
-- here must stay readable for every later version.
PRAGMA page_size = 2048;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE incidents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL, revision INTEGER NOT NULL,
    explained INTEGER, message INTEGER NOT NULL, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX incidents_to_explain ON incidents (number) WHERE explained IS NULL OR explained < revision;
CREATE TABLE summaries (
    number INTEGER PRIMARY KEY, revision INTEGER NOT NULL,
    form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE closures (
    number INTEGER PRIMARY KEY, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, queued_s REAL NOT NULL, priority INTEGER NOT NULL, flags INTEGER NOT NULL,
    crc INTEGER NOT NULL, topic TEXT NOT NULL, correlation BLOB NOT NULL, payload BLOB NOT NULL);
CREATE TABLE drops (
    number INTEGER PRIMARY KEY, reason TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
    first_s REAL NOT NULL, last_s REAL NOT NULL);
INSERT INTO drops (reason, count, bytes, first_s, last_s) VALUES
    ('outbox-full', 3, 900, 1790000000.0, 1790000050.0), ('file-full', 0, 0, 0, 0), ('too-large', 0, 0, 0, 0),
    ('damaged-row', 0, 0, 0, 0), ('unreadable-row', 0, 0, 0, 0), ('damaged-file', 0, 0, 0, 0),
    ('incident-expired', 0, 0, 0, 0);
INSERT INTO incidents VALUES (1, 'i-000001', 1, 2, 2, 6, 1, 2961684687, CAST(
    '{"id":"i-000001","asset":"pump-1","state":"closed","revision":2,"opened_s":1790000001.0,"updated_s":1790000003.0,"closed_s":1790000003.0,"anomalies":[{"stream":"pump-1/vibration","kind":"spike","direction":"up","onset_s":1790000001.0,"peak_s":1790000001.5,"end_s":null,"score":0.9,"observed":3.75,"baseline":1.25,"unit":"mm/s","magnitude":0.0,"ending":"returned","kind_confidence":1.0,"signature":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}],"anomaly_count":1,"stream_count":1,"severity":0.9,"storm":false}'
    AS BLOB));
INSERT INTO incidents VALUES (2, 'i-000002', 0, 1, NULL, 7, 1, 370360272, CAST(
    '{"id":"i-000002","asset":"pump-2","state":"open","revision":1,"opened_s":1790000002.0,"updated_s":1790000003.0,"closed_s":null,"anomalies":[{"stream":"pump-2/vibration","kind":"spike","direction":"up","onset_s":1790000002.0,"peak_s":1790000002.5,"end_s":null,"score":0.9,"observed":3.75,"baseline":1.25,"unit":"mm/s","magnitude":0.0,"ending":"returned","kind_confidence":1.0,"signature":""}],"anomaly_count":1,"stream_count":1,"severity":0.9,"storm":false}'
    AS BLOB));
INSERT INTO summaries VALUES (1, 2, 1, 76587321, CAST(
    '{"incident_id":"i-000001","revision":2,"text":"Vibration rose to 3.75 mm/s.","skeleton":"<stream:1> rose.","slots":[{"token":"<stream:1>","role":"stream","text":"pump-1/vibration"}],"confidence":0.75,"route":"writer","verdict":"local","reasons":[],"release":"factory","written_s":1790000005.0,"asset":"pump-1","state":"open","evidence":{"incident_id":"i-000000","asset":"pump-1","opened_s":1790000000.0,"cause":"bearing wear","similarity":0.5}}'
    AS BLOB));
INSERT INTO closures VALUES (1, 1, 3553315476, CAST(
    '{"incident_id":"i-000001","cause":"bearing wear","note":"","closed_s":1790000100.0}' AS BLOB));
INSERT INTO outbox VALUES (7, 1790000006.0, 1, 13, 549006000, 'edge/gateway-1/summary', x'0102', x'7b7d');
PRAGMA application_id = 1164208748;
PRAGMA user_version = 1;
COMMIT;
