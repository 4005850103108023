//! A small repeatable generator for benches and resampling, which must not depend on chance: `SplitMix64` (Steele et al. 2014). No secrets come from here.

/// The generator; the same seed gives the same numbers.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `n` - 1; 0 for `n` = 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % (n.max(1) as u64)).unwrap_or(0)
    }

    /// Between -1 and 1.
    pub fn noise(&mut self) -> f32 {
        (self.roll() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}
