//! Looks through the engine's journals before the engine opens them.
//!
//! The engine ends its replay at the first bytes that do not read as a journal entry and cuts the file there, in silence; on a
//! checksum that does not match it refuses to open. After a power loss pages of the unsynced end may be missing in any
//! order, so both happen to healthy stores; a flipped bit in the durable part must not pass for that. So:
//! - The newest journal is cut behind its last whole batch, which is what a crash may cost.
//! - Older journals were synced before their successor began. They have to be whole.
//! - The last sync number in them has to reach what the `synced` file says.
//!
//! The engine's checksum leaves out a batch's sequence number; that it grows from batch to batch is checked instead.
//!
//! Knows the journal layout of the pinned engine version; the tests compare it with what the engine writes.

use crate::StoreError;
use crate::journal::{journal_path, journals};
use crate::keys;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const END_MAGIC: [u8; 4] = *b"FJL\x03";

/// What a walk through one journal found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scan {
    /// Length of the part that consists of whole, matching batches.
    valid: u64,
    /// The last sync number in that part.
    sync_number: Option<u64>,
    /// The last batch's sequence number.
    seqno: Option<u64>,
}

/// One batch of a journal.
struct Batch {
    seqno: u64,
    sync_number: Option<u64>,
}

/// Cuts the newest journal behind its last whole batch.
///
/// # Errors
/// `Corrupt` when an older journal is damaged or the journals end before the sync `synced`; nothing was changed then.
pub(crate) fn prepare_journals(engine_dir: &Path, synced: u64) -> Result<(), StoreError> {
    let listing = StoreError::io("list", engine_dir);
    let mut ids: Vec<u64> = journals(engine_dir).map_err(listing)?;
    ids.sort_unstable();
    let Some(newest) = ids.pop() else { return Ok(()) };
    let (mut sync_number, mut seqno) = (None, None);
    for id in ids {
        let path = journal_path(engine_dir, id);
        let scan = scan(&path, seqno).map_err(StoreError::io("read", &path))?;
        if !is_zero_from(&path, scan.valid).map_err(StoreError::io("read", &path))? {
            return Err(corrupt(format!("{} is damaged at byte {}", path.display(), scan.valid)));
        }
        sync_number = scan.sync_number.or(sync_number);
        seqno = scan.seqno;
    }
    let path = journal_path(engine_dir, newest);
    let found = scan(&path, seqno).map_err(StoreError::io("read", &path))?;
    sync_number = found.sync_number.or(sync_number);
    if let Some(number) = sync_number.filter(|number| *number < synced) {
        return Err(corrupt(format!(
            "{} is whole up to byte {} and sync {number}, but sync {synced} had succeeded",
            path.display(),
            found.valid
        )));
    }
    let file = File::options().write(true).open(&path).map_err(StoreError::io("open", &path))?;
    file.set_len(found.valid).and_then(|()| file.sync_all()).map_err(StoreError::io("cut", path))
}

fn corrupt(detail: String) -> StoreError {
    StoreError::Corrupt { group: None, index: None, detail }
}

fn is_zero_from(path: &Path, start: u64) -> std::io::Result<bool> {
    use std::io::Seek;
    let mut file = File::open(path)?;
    file.seek(std::io::SeekFrom::Start(start))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok(true);
        }
        if block.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let len = block.len();
        reader.consume(len);
    }
}

/// Walks over whole batches until something else comes. Their sequence numbers have to go on behind `seqno`.
fn scan(path: &Path, seqno: Option<u64>) -> std::io::Result<Scan> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = Reader { inner: BufReader::with_capacity(1 << 16, file), position: 0, length };
    let mut scan = Scan { seqno, ..Scan::default() };
    loop {
        match read_batch(&mut reader) {
            Ok(Some(batch)) if scan.seqno.is_none_or(|last| last < batch.seqno) => {
                scan.valid = reader.position;
                scan.seqno = Some(batch.seqno);
                scan.sync_number = batch.sync_number.or(scan.sync_number);
            }
            Ok(_) => return Ok(scan),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(scan),
            Err(error) => return Err(error),
        }
    }
}

/// Reads one batch; nothing when there is no whole one here.
fn read_batch(reader: &mut Reader) -> std::io::Result<Option<Batch>> {
    let mut hash = Xxh3::new();
    let mut sync_number = None;
    if reader.array::<1>()? != [START] {
        return Ok(None);
    }
    let items = u32::from_le_bytes(reader.array()?);
    let seqno = u64::from_le_bytes(reader.array()?);
    for _ in 0..items {
        let tag: [u8; 1] = reader.array()?;
        hash.update(&tag);
        match tag[0] {
            ITEM => sync_number = read_item(reader, &mut hash)?.or(sync_number),
            CLEAR => hash.update(&reader.array::<8>()?),
            _ => return Ok(None),
        }
    }
    let end = reader.array::<1>()? == [END];
    let matches = u64::from_le_bytes(reader.array()?) == hash.digest();
    let whole = reader.array()? == END_MAGIC;
    Ok((end && matches && whole).then_some(Batch { seqno, sync_number }))
}

/// Reads an item behind its tag; returns the sync number when it is one.
fn read_item(reader: &mut Reader, hash: &mut Xxh3) -> std::io::Result<Option<u64>> {
    // Value type, compression and keyspace: 10 bytes that matter to the checksum only.
    hash.update(&reader.array::<10>()?);
    let key_len: [u8; 2] = reader.array()?;
    let value_len: [u8; 4] = reader.array()?;
    let stored_len: [u8; 4] = reader.array()?;
    hash.update(&key_len);
    hash.update(&value_len);
    hash.update(&stored_len);
    let key_len = u64::from(u16::from_le_bytes(key_len));
    let value_len = u64::from(u32::from_le_bytes(stored_len));
    // No other key is as short as this one.
    if (key_len, value_len) == (keys::SYNC_KEY.len() as u64, 8) {
        let key: [u8; 1] = reader.array()?;
        let value: [u8; 8] = reader.array()?;
        hash.update(&key);
        hash.update(&value);
        return Ok((key == keys::SYNC_KEY).then(|| u64::from_be_bytes(value)));
    }
    reader.pass(key_len + value_len, hash)?;
    Ok(None)
}

struct Reader {
    inner: BufReader<File>,
    position: u64,
    length: u64,
}

impl Reader {
    fn array<const N: usize>(&mut self) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    /// Hashes the next bytes without holding them; a length beyond the file is its end.
    fn pass(&mut self, mut len: u64, hash: &mut Xxh3) -> std::io::Result<()> {
        if len > self.length.saturating_sub(self.position) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.position += len;
        while len > 0 {
            let block = self.inner.fill_buf()?;
            let take = block.len().min(usize::try_from(len).unwrap_or(usize::MAX));
            if take == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            hash.update(block.get(..take).unwrap_or_default());
            self.inner.consume(take);
            len -= take as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;
    use crate::engine::{Engine, Table};
    use std::path::PathBuf;

    /// A journal as the engine writes it: batches of several items, one beyond the reader's buffer, and two syncs.
    fn engine_journal(dir: &Path) -> PathBuf {
        let engine = Engine::open(dir, &StoreOptions::default()).unwrap();
        for round in 1..=2_u64 {
            for n in 0..20_usize {
                let mut batch = engine.batch();
                batch.insert(Table::Log, keys::log_key(round, n as u64), vec![7; n * n * 400]);
                batch.remove(Table::State, keys::item_key(round, &[1; 30]));
                engine.commit(batch).unwrap();
            }
            engine.hand_over(round).unwrap();
        }
        drop(engine);
        dir.join("0.jnl")
    }

    #[test]
    fn reads_what_the_engine_writes_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = engine_journal(dir.path());
        let found = scan(&path, None).unwrap();
        assert_eq!(found.sync_number, Some(2));
        assert!(found.valid > 1_900_000);
        assert!(is_zero_from(&path, found.valid).unwrap());
        assert!(!is_zero_from(&path, found.valid - 1).unwrap());
        prepare_journals(dir.path(), 2).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), found.valid);
        assert_eq!(Engine::open(dir.path(), &StoreOptions::default()).unwrap().sync_number().unwrap(), 2);
    }

    #[test]
    fn damage_in_the_unsynced_end_is_cut_and_the_engine_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = engine_journal(dir.path());
        let whole = scan(&path, None).unwrap().valid;
        let bytes = std::fs::read(&path).unwrap();
        // The second sync's batch is the last; its value is damaged, which the engine alone would not open.
        let mut bad = bytes.clone();
        bad[usize::try_from(whole).unwrap() - 14] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        prepare_journals(dir.path(), 1).unwrap();
        assert_eq!(Engine::open(dir.path(), &StoreOptions::default()).unwrap().sync_number().unwrap(), 1);
    }

    fn first_batch_length(bytes: &[u8]) -> usize {
        let magic = bytes.windows(END_MAGIC.len()).position(|window| window == END_MAGIC).unwrap();
        magic + END_MAGIC.len()
    }

    #[test]
    fn damage_in_the_durable_part_is_an_error_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = engine_journal(dir.path());
        let bytes = std::fs::read(&path).unwrap();
        let second = [0, 5, 40].map(|offset| first_batch_length(&bytes) + offset);
        for position in [0, 5, 40, second[0], second[1], second[2], 1_000_000] {
            let mut bad = bytes.clone();
            bad[position] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            match prepare_journals(dir.path(), 2) {
                Err(StoreError::Corrupt { .. }) => assert_eq!(std::fs::read(&path).unwrap(), bad),
                // No sync number was left to tell by; the check of the opened engine does.
                Ok(()) => assert_eq!(
                    Engine::open(dir.path(), &StoreOptions::default()).unwrap().sync_number().unwrap(),
                    0
                ),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn an_older_journal_must_be_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = engine_journal(dir.path());
        std::fs::write(dir.path().join("1.jnl"), [0; 100]).unwrap();
        prepare_journals(dir.path(), 2).unwrap();
        let mut bad = std::fs::read(&path).unwrap();
        bad[1_000_000] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(prepare_journals(dir.path(), 2), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn garbage_is_read_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.jnl");
        // A batch that claims four thousand million items, the first with a value of four gigabytes.
        let mut bytes = vec![START];
        bytes.extend([0xff; 4]);
        bytes.extend([0; 8]);
        bytes.push(ITEM);
        bytes.extend([0xff; 20]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(scan(&path, None).unwrap(), Scan::default());
        prepare_journals(dir.path(), 0).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
