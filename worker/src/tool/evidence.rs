//! Ids of what tools read and wrote.

use wattle_workspace::BlobId;

/// The id that git gives a blob of these bytes.
pub(super) fn blob_id(bytes: &[u8]) -> BlobId {
    let id = git2::Oid::hash_object(git2::ObjectType::Blob, bytes).expect("hashing bytes in memory cannot fail");
    id.to_string().parse().expect("an object id is 40 hex digits")
}
