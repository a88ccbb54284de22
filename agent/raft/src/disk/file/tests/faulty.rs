//! A storage backend that remembers what is not synced yet, loses power, and runs full.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};
use redb::StorageBackend;

/// What power cuts may tear: a write within a sector is whole or absent.
const SECTOR_BYTES: u64 = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
}

#[derive(Debug, Default)]
struct Disk {
    /// What reads see.
    live: Vec<u8>,
    /// What a sync has confirmed.
    durable: Vec<u8>,
    /// Changes since the last sync.
    pending: Vec<Change>,
    operations: u64,
    syncs: u64,
    cut_after: Option<u64>,
    size_max: Option<u64>,
}

/// Bytes that survive the databases opened on them. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyBackend(Arc<Mutex<Disk>>);

impl FaultyBackend {
    pub(super) fn from_image(image: Vec<u8>) -> Self {
        FaultyBackend(Arc::new(Mutex::new(Disk { live: image.clone(), durable: image, ..Disk::default() })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// Lets this many writes, resizes and syncs happen, then fails everything.
    pub(super) fn cut_after(&self, operations: u64) {
        let mut disk = self.disk();
        disk.operations = 0;
        disk.cut_after = Some(operations);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.disk().is_cut()
    }

    /// How often it was synced so far.
    pub(super) fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Refuses to grow beyond this.
    pub(super) fn limit_size(&self, size_max: u64) {
        self.disk().size_max = Some(size_max);
    }

    pub(super) fn durable(&self) -> Vec<u8> {
        self.disk().durable.clone()
    }

    pub(super) fn live(&self) -> Vec<u8> {
        self.disk().live.clone()
    }

    /// What is left: all that was synced, and of the rest a random part, torn at sectors.
    pub(super) fn image_after_power_cut(&self, random: &mut SmallRng) -> Vec<u8> {
        let disk = self.disk();
        let mut image = disk.durable.clone();
        for change in &disk.pending {
            match (change, random.random_range(0..4)) {
                (_, 0) => {}
                (Change::Write { offset, data }, 1) => write(&mut image, *offset, torn(*offset, data, random)),
                (Change::Write { offset, data }, _) => write(&mut image, *offset, data),
                (Change::SetLen(len), _) => image.resize(usize::try_from(*len).unwrap(), 0),
            }
        }
        image
    }
}

/// A prefix of `data` that ends at a sector of the disk.
fn torn<'a>(offset: u64, data: &'a [u8], random: &mut SmallRng) -> &'a [u8] {
    let end = offset + random.next_u64() % (data.len() as u64 + 1);
    let end = (end / SECTOR_BYTES * SECTOR_BYTES).max(offset);
    &data[..usize::try_from(end - offset).unwrap()]
}

fn write(image: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    if image.len() < offset + data.len() {
        image.resize(offset + data.len(), 0);
    }
    image[offset..offset + data.len()].copy_from_slice(data);
}

impl Disk {
    fn is_cut(&self) -> bool {
        self.cut_after.is_some_and(|after| self.operations >= after)
    }

    fn operate(&mut self) -> io::Result<()> {
        if self.is_cut() {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        Ok(())
    }

    fn make_room(&self, len: u64) -> io::Result<()> {
        match self.size_max {
            Some(size_max) if len > size_max => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for FaultyBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let disk = self.disk();
        let bytes = disk.live.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.make_room(len)?;
        disk.operate()?;
        disk.live.resize(usize::try_from(len).unwrap(), 0);
        disk.pending.push(Change::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        disk.syncs += 1;
        disk.durable = disk.live.clone();
        disk.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        disk.make_room(offset + data.len() as u64)?;
        disk.operate()?;
        write(&mut disk.live, offset, data);
        disk.pending.push(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }
}
