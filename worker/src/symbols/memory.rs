//! Tags of files that were just read, by what the files hold: a worker asks about the same files again and again, and
//! edits few of them between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wattle_workspace::BlobId;

use super::{Language, Tags, Untagged};

/// Bytes of source whose tags are kept, about as many bytes again: a large package.
const SOURCE_BYTES_MAX: usize = 32 << 20;

type Kept = HashMap<(BlobId, Language), Result<Arc<Tags>, Untagged>>;

/// Tags by blob and language, for one worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    inner: Arc<Mutex<(Kept, usize)>>,
}

impl Memory {
    /// The tags of a file whose bytes have this id.
    pub(crate) fn tags(&self, language: Language, id: BlobId, bytes: &[u8]) -> Result<Arc<Tags>, Untagged> {
        let key = (id, language);
        let lock = || self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = lock().0.get(&key) {
            return kept.clone();
        }
        let made = super::tags(language, bytes, None).map(Arc::new);
        let mut inner = lock();
        let (kept, size) = &mut *inner;
        if *size + bytes.len() > SOURCE_BYTES_MAX {
            kept.clear();
            *size = 0;
        }
        *size += bytes.len();
        kept.insert(key, made.clone());
        made
    }
}
