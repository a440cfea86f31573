-- A journal of format version 2, as docs/formats/journal.md describes it. Written once, never regenerated: what stands
-- here must stay readable for every later version.
PRAGMA page_size = 2048;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE incidents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL, revision INTEGER NOT NULL,
    explained INTEGER, message INTEGER NOT NULL, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE summaries (
    number INTEGER PRIMARY KEY, revision INTEGER NOT NULL,
    form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE closures (
    number INTEGER PRIMARY KEY, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, queued_s REAL NOT NULL, priority INTEGER NOT NULL, flags INTEGER NOT NULL,
    crc INTEGER NOT NULL, topic TEXT NOT NULL, correlation BLOB NOT NULL, payload BLOB NOT NULL, since_s REAL NOT NULL DEFAULT 0);
CREATE TABLE drops (
    number INTEGER PRIMARY KEY, reason TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
    first_s REAL NOT NULL, last_s REAL NOT NULL);
CREATE TABLE escalations (
    number INTEGER PRIMARY KEY, request TEXT NOT NULL, revision INTEGER NOT NULL, state INTEGER NOT NULL,
    severity REAL NOT NULL, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX escalations_pending ON escalations (severity DESC, number) WHERE state < 2;
CREATE INDEX escalations_by_request ON escalations (request);
CREATE TABLE meters (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE audit (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE egress (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY, queued_s REAL NOT NULL, buried_s REAL NOT NULL, reason TEXT NOT NULL,
    priority INTEGER NOT NULL, flags INTEGER NOT NULL, crc INTEGER NOT NULL,
    topic TEXT NOT NULL, correlation BLOB NOT NULL, payload BLOB NOT NULL);
INSERT INTO drops (reason, count, bytes, first_s, last_s) VALUES
    ('outbox-full', 3, 900, 1790000000.0, 1790000050.0), ('file-full', 0, 0, 0, 0), ('too-large', 0, 0, 0, 0),
    ('damaged-row', 0, 0, 0, 0), ('unreadable-row', 0, 0, 0, 0), ('damaged-file', 0, 0, 0, 0),
    ('incident-expired', 0, 0, 0, 0), ('too-old', 2, 80, 1790000000.0, 1790000060.0), ('write-budget', 0, 0, 0, 0),
    ('buried', 1, 34, 1790000066.0, 1790000066.0), ('dead-letter-expired', 0, 0, 0, 0),
    ('escalation-expired', 0, 0, 0, 0), ('log-shortened', 0, 0, 0, 0);
INSERT INTO incidents VALUES (1, 'i-000001', 1, 2, 2, 6, 1, 2961684687, CAST(
    '{"id":"i-000001","asset":"pump-1","state":"closed","revision":2,"opened_s":1790000001.0,"updated_s":1790000003.0,"closed_s":1790000003.0,"anomalies":[{"stream":"pump-1/vibration","kind":"spike","direction":"up","onset_s":1790000001.0,"peak_s":1790000001.5,"end_s":null,"score":0.9,"observed":3.75,"baseline":1.25,"unit":"mm/s","magnitude":0.0,"ending":"returned","kind_confidence":1.0,"signature":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}],"anomaly_count":1,"stream_count":1,"severity":0.9,"storm":false}' AS BLOB));
INSERT INTO incidents VALUES (2, 'i-000002', 0, 1, NULL, 7, 1, 370360272, CAST(
    '{"id":"i-000002","asset":"pump-2","state":"open","revision":1,"opened_s":1790000002.0,"updated_s":1790000003.0,"closed_s":null,"anomalies":[{"stream":"pump-2/vibration","kind":"spike","direction":"up","onset_s":1790000002.0,"peak_s":1790000002.5,"end_s":null,"score":0.9,"observed":3.75,"baseline":1.25,"unit":"mm/s","magnitude":0.0,"ending":"returned","kind_confidence":1.0,"signature":""}],"anomaly_count":1,"stream_count":1,"severity":0.9,"storm":false}' AS BLOB));
INSERT INTO summaries VALUES (1, 2, 1, 2046104122, CAST(
    '{"incident_id":"i-000001","revision":2,"text":"Vibration rose to 3.75 mm/s.","skeleton":"<stream:1> rose.","slots":[{"token":"<stream:1>","role":"stream","text":"pump-1/vibration"}],"confidence":0.75,"route":"cloud","verdict":"local","reasons":[],"release":"factory","written_s":1790000005.0,"asset":"pump-1","state":"closed","evidence":{"incident_id":"i-000000","asset":"pump-1","opened_s":1790000000.0,"cause":"bearing wear","similarity":0.5},"revised":true,"model":"openai:m"}' AS BLOB));
INSERT INTO closures VALUES (1, 1, 3553315476, CAST(
    '{"incident_id":"i-000001","cause":"bearing wear","note":"","closed_s":1790000100.0}' AS BLOB));
INSERT INTO escalations VALUES (1, 'q-000001-2', 2, 2, 0.9, 1, 2595847003, CAST(
    '{"incident_id":"i-000001","revision":2,"id":"q-000001-2","state":"answered","reasons":["low-confidence"],"severity":0.9,"queued_s":1790000006.0,"changed_s":1790000007.0,"attempts":0,"outcome":""}' AS BLOB));
INSERT INTO escalations VALUES (2, 'q-000002-1', 1, 1, 0.5, 1, 3116537244, CAST(
    '{"incident_id":"i-000002","revision":1,"id":"q-000002-1","state":"sent","reasons":["low-confidence"],"severity":0.5,"queued_s":1790000006.0,"changed_s":1790000007.0,"attempts":0,"outcome":"timeout"}' AS BLOB));
INSERT INTO outbox VALUES (7, 1790000006.0, 2, 13, 2699265541, 'edge/gateway-1/summary', x'0102', CAST(
    '{}' AS BLOB), 42.5);
INSERT INTO dead_letters VALUES (3, 1790000006.0, 1790000066.0, 'packet-too-large', 1, 1, 25309425, 'edge/gateway-1/incident/i-000001', x'', CAST(
    '[]' AS BLOB));
INSERT INTO meters VALUES (1, 'budget', 2228671446, CAST(
    '{"requests":3}' AS BLOB));
INSERT INTO meters VALUES (2, 'log-audit', 3651404396, x'da2999834ef26132f2ec1074a562d40e4f035168fbca2d4ec24961190e29fb97');
INSERT INTO meters VALUES (3, 'journal-age', 2878232786, CAST(
    '{"lived_s":50.0,"wall_s":1790000100.0}' AS BLOB));
INSERT INTO audit VALUES (8, x'978700574518d42fbbeeebc1ba6473de259b0a3257d5a43847ce372cb00e6156', CAST(
    '{"n":8}' AS BLOB));
INSERT INTO audit VALUES (9, x'4353f965da24b153675bcf7f2e00f05fd34d3a49592a2b2b344285a2de94c28e', CAST(
    '{"n":9}' AS BLOB));
INSERT INTO egress VALUES (1, x'4a5c1f49b54f788179a75b2448a3ae61c573946267d5391468727dd21e8b5d8e', CAST(
    '{"q":1}' AS BLOB));
PRAGMA application_id = 1164208748;
PRAGMA user_version = 2;
COMMIT;
