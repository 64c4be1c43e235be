BEGIN IMMEDIATE;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE blobs (
	id INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	location TEXT, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE compatibility (
	least TEXT NOT NULL, 
	PRIMARY KEY (least)
)
 WITHOUT ROWID

;
INSERT INTO "compatibility" VALUES('0003');
CREATE TABLE configs (
	digest TEXT NOT NULL, 
	created TEXT, 
	labels TEXT NOT NULL, 
	PRIMARY KEY (digest)
)
 WITHOUT ROWID

;
CREATE TABLE counts (
	name TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
)
 WITHOUT ROWID

;
CREATE TABLE edges (
	manifest_id INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	PRIMARY KEY (manifest_id, digest), 
	FOREIGN KEY(manifest_id) REFERENCES manifests (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE layers (
	digest TEXT NOT NULL, 
	diff_id TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	PRIMARY KEY (digest)
)
 WITHOUT ROWID

;
CREATE TABLE leases (
	name TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	fence BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	PRIMARY KEY (name)
)
 WITHOUT ROWID

;
CREATE TABLE links (
	repository_id INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	blob_id INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, digest), 
	FOREIGN KEY(repository_id) REFERENCES repositories (id), 
	FOREIGN KEY(blob_id) REFERENCES blobs (id)
)
 WITHOUT ROWID

;
CREATE TABLE manifests (
	id INTEGER NOT NULL, 
	repository_id INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	media_type TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	subject TEXT, 
	artifact_type TEXT, 
	referrer TEXT, 
	created_at BIGINT NOT NULL, 
	content BLOB NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(repository_id) REFERENCES repositories (id)
);
CREATE TABLE origins (
	manifest_id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	PRIMARY KEY (manifest_id), 
	FOREIGN KEY(manifest_id) REFERENCES manifests (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE pushes (
	repository TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	location TEXT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (repository, digest)
)
 WITHOUT ROWID

;
CREATE TABLE repositories (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE tags (
	repository_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	manifest_id INTEGER NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (repository_id, name), 
	FOREIGN KEY(repository_id) REFERENCES repositories (id), 
	FOREIGN KEY(manifest_id) REFERENCES manifests (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE uploads (
	id TEXT NOT NULL, 
	repository TEXT NOT NULL, 
	state TEXT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE UNIQUE INDEX repositories_name ON repositories (name);
CREATE UNIQUE INDEX blobs_digest ON blobs (digest);
CREATE INDEX links_blob ON links (blob_id);
CREATE UNIQUE INDEX manifests_digest ON manifests (repository_id, digest);
CREATE INDEX manifests_subject ON manifests (repository_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX edges_digest ON edges (digest);
CREATE INDEX tags_manifest ON tags (manifest_id);
CREATE INDEX uploads_repository ON uploads (repository);
CREATE INDEX uploads_updated ON uploads (updated_at);
CREATE INDEX links_digest ON links (digest, repository_id);
COMMIT;
