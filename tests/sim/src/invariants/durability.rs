//! Acknowledged writes survive: crashes, restarts, cut connections, slow disks.
//!
//! Each record has one writer, so what a read may find is known: the last
//! acknowledged value, or that of a write whose outcome the writer never learned.

use std::collections::BTreeMap;

/// What every record may hold.
#[derive(Default)]
pub struct Durability {
    records: BTreeMap<String, Vec<Option<String>>>,
}

impl Durability {
    /// A write of `value` (`None` deletes) is on its way: from now on a read may find it.
    pub fn began(&mut self, record: &str, value: Option<&str>) {
        let possible = self.records.entry(record.to_owned()).or_insert_with(|| vec![None]);
        possible.push(value.map(str::to_owned));
    }

    /// The write was acknowledged: a read finds exactly this.
    pub fn acknowledged(&mut self, record: &str, value: Option<&str>) {
        self.records.insert(record.to_owned(), vec![value.map(str::to_owned)]);
    }

    /// The write was refused: a read finds what it found before.
    pub fn refused(&mut self, record: &str) {
        if let Some(possible) = self.records.get_mut(record) {
            possible.pop();
        }
    }

    /// The value, if only one is possible.
    pub fn known(&self, record: &str) -> Option<Option<&str>> {
        match self.records.get(record).map(Vec::as_slice) {
            None => Some(None),
            Some([only]) => Some(only.as_deref()),
            Some(_) => None,
        }
    }

    /// The records whose name starts with `prefix`.
    pub fn below(&self, prefix: &str) -> Vec<String> {
        let from_prefix = self.records.range(prefix.to_owned()..).map(|(record, _)| record);
        from_prefix.take_while(|record| record.starts_with(prefix)).cloned().collect()
    }

    /// A read that began after every acknowledgement so far found `found`.
    ///
    /// # Errors
    /// When it cannot have found that.
    pub fn read(&self, record: &str, found: Option<&str>) -> Result<(), String> {
        let never = [None];
        let possible = self.records.get(record).map_or(never.as_slice(), Vec::as_slice);
        if possible.iter().any(|value| value.as_deref() == found) {
            return Ok(());
        }
        Err(format!("durability: {record} is {found:?}, but can only be one of {possible:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_value_is_the_only_one() {
        let mut durability = Durability::default();
        durability.began("k", Some("1"));
        assert!(durability.read("k", None).is_ok() && durability.read("k", Some("1")).is_ok());

        durability.acknowledged("k", Some("1"));

        assert!(durability.read("k", Some("1")).is_ok());
        assert!(durability.read("k", None).is_err());
        assert!(durability.read("other", Some("1")).is_err());
    }

    #[test]
    fn a_refused_write_changes_nothing() {
        let mut durability = Durability::default();
        durability.began("k", Some("1"));

        durability.refused("k");

        assert!(durability.read("k", Some("1")).is_err());
    }
}
