//! Bytes that encode their connection and their position.
//!
//! A tape is an endless stream of bytes made of its identity and the position. Each word of eight
//! bytes is a hash of both, so bytes of another tape, or of another place of this one, are not
//! taken for the right ones.

use crate::common::Dice;

/// A position on a tape.
#[derive(Clone, Debug)]
pub(crate) struct Tape {
    identity: u64,
    pub(crate) position: u64,
}

impl Tape {
    pub(crate) fn new(identity: u64) -> Tape {
        Tape { identity, position: 0 }
    }

    /// The next `len` bytes.
    pub(crate) fn play(&mut self, len: usize) -> Vec<u8> {
        let bytes = self.bytes(len);
        self.position += len as u64;
        bytes
    }

    /// Takes back the last `len` bytes, which were not sent.
    pub(crate) fn rewind(&mut self, len: usize) {
        self.position -= len as u64;
    }

    /// Between 1 and `len_max` of the next bytes.
    pub(crate) fn play_some(&mut self, len_max: u64, dice: &mut Dice) -> Vec<u8> {
        self.play(1 + dice.roll(len_max) as usize)
    }

    /// Checks that these are the next bytes.
    #[track_caller]
    pub(crate) fn check(&mut self, bytes: &[u8]) {
        let expected = self.bytes(bytes.len());
        if let Some(offset) = expected.iter().zip(bytes).position(|(a, b)| a != b) {
            let position = self.position + offset as u64;
            panic!("tape {:#x}: byte {position} is another", self.identity);
        }
        self.position += bytes.len() as u64;
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        let first_word = self.position / 8;
        let skipped = (self.position % 8) as usize;
        let words = (first_word..).flat_map(|index| self.word(index).to_le_bytes());
        words.skip(skipped).take(len).collect()
    }

    /// The finaliser of SplitMix64, which mixes every bit of its input into all bits of its output.
    fn word(&self, index: u64) -> u64 {
        let seed = self.identity.wrapping_mul(0xD134_2543_DE82_EF95);
        let mut word = seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}
