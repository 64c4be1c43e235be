-- revision 0001
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE repositories (
    id BIGSERIAL NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX repositories_name ON repositories (name);
CREATE TABLE blobs (
    id BIGSERIAL NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    location TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX blobs_digest ON blobs (digest);
CREATE TABLE links (
    repository_id BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    blob_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, digest),
    FOREIGN KEY(repository_id) REFERENCES repositories (id),
    FOREIGN KEY(blob_id) REFERENCES blobs (id)
);
CREATE INDEX links_digest ON links (digest);
CREATE INDEX links_blob ON links (blob_id);
CREATE TABLE manifests (
    id BIGSERIAL NOT NULL,
    repository_id BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    subject TEXT COLLATE "C",
    artifact_type TEXT COLLATE "C",
    referrer TEXT,
    created_at BIGINT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(repository_id) REFERENCES repositories (id)
);
CREATE UNIQUE INDEX manifests_digest ON manifests (repository_id, digest);
CREATE INDEX manifests_subject ON manifests (repository_id, subject, digest) WHERE subject IS NOT NULL;
CREATE TABLE edges (
    manifest_id BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (manifest_id, digest),
    FOREIGN KEY(manifest_id) REFERENCES manifests (id) ON DELETE CASCADE
);
CREATE INDEX edges_digest ON edges (digest);
CREATE TABLE tags (
    repository_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    manifest_id BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name),
    FOREIGN KEY(repository_id) REFERENCES repositories (id),
    FOREIGN KEY(manifest_id) REFERENCES manifests (id) ON DELETE CASCADE
);
CREATE INDEX tags_manifest ON tags (manifest_id);
CREATE TABLE uploads (
    id TEXT NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX uploads_repository ON uploads (repository);
CREATE INDEX uploads_updated ON uploads (updated_at);
CREATE TABLE leases (
    name TEXT NOT NULL,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (name)
);
INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING alembic_version.version_num;

-- revision 0002
CREATE TABLE layers (
    digest TEXT COLLATE "C" NOT NULL,
    diff_id TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (digest)
);
CREATE TABLE configs (
    digest TEXT COLLATE "C" NOT NULL,
    created TEXT,
    labels TEXT NOT NULL,
    PRIMARY KEY (digest)
);
CREATE TABLE origins (
    manifest_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (manifest_id),
    FOREIGN KEY(manifest_id) REFERENCES manifests (id) ON DELETE CASCADE
);
CREATE TABLE pushes (
    repository TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    location TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repository, digest)
);
UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';

-- revision 0003
CREATE TABLE compatibility (
    least TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (least)
);
INSERT INTO compatibility (least) VALUES ('0003');
UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002';

-- revision 0004
CREATE TABLE counts (
    name TEXT COLLATE "C" NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
);
UPDATE alembic_version SET version_num='0004' WHERE alembic_version.version_num = '0003';

-- revision 0005
DROP INDEX links_digest;
CREATE INDEX links_digest ON links (digest, repository_id);
UPDATE alembic_version SET version_num='0005' WHERE alembic_version.version_num = '0004';
