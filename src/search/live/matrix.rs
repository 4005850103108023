//! Vectors of a set in 8-bit integers, for scans of many of them. Results are approximate: the error of a cosine has a standard deviation of about 0.0005
//! with 384 dimensions, so a scan keeps more than are wanted, and exact cosines decide.

use fixedbitset::FixedBitSet;
use simsimd::SpatialSimilarity;

use crate::search::top::Top;

/// Vectors per block: growing adds blocks instead of copying everything.
const BLOCK: usize = 1024;
/// Largest code.
const LARGEST: f32 = 127.0;

/// Vectors by the ordinal of their chunk, each as codes and a scale: `value ≈ code · scale`.
#[derive(Debug)]
pub struct Matrix {
    dimensions: usize,
    blocks: Vec<Box<[i8]>>,
    scales: Vec<f32>,
    present: FixedBitSet,
}

impl Matrix {
    /// Creates an empty matrix for vectors of some length.
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            blocks: Vec::new(),
            scales: Vec::new(),
            present: FixedBitSet::new(),
        }
    }

    /// Returns the number of bytes that vectors of some length need.
    #[must_use]
    pub fn bytes_for(count: usize, dimensions: usize) -> usize {
        count.div_ceil(BLOCK) * BLOCK * (dimensions + size_of::<f32>())
    }

    /// Returns the number of bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        Self::bytes_for(self.scales.len(), self.dimensions)
    }

    /// Sets the vector of a chunk.
    pub fn set(&mut self, ordinal: u32, vector: &[f32]) {
        let index = ordinal as usize;
        while self.blocks.len() * BLOCK <= index {
            let block = vec![0; BLOCK * self.dimensions];
            self.blocks.push(block.into_boxed_slice());
        }
        if self.scales.len() <= index {
            self.scales.resize(index + 1, 0.0);
            self.present.grow(index + 1);
        }
        let start = index % BLOCK * self.dimensions;
        let row = &mut self.blocks[index / BLOCK][start..start + self.dimensions];
        self.scales[index] = quantise(vector, row);
        self.present.insert(index);
    }

    /// Removes the vector of a chunk.
    pub fn remove(&mut self, ordinal: u32) {
        if (ordinal as usize) < self.present.len() {
            self.present.set(ordinal as usize, false);
        }
    }

    /// Removes all vectors.
    pub fn clear(&mut self) {
        self.present.clear();
    }

    /// Returns the `keep` chunks among some whose vectors are nearest to a unit vector, by approximate cosine, best first.
    #[must_use]
    pub fn nearest(&self, query: &[f32], among: &FixedBitSet, keep: usize) -> Vec<u32> {
        let mut codes = vec![0; self.dimensions];
        quantise(query, &mut codes);
        let mut best = Top::new(keep);
        let mut threshold = best.threshold();
        for index in among.intersection(&self.present) {
            let start = index % BLOCK * self.dimensions;
            let row = &self.blocks[index / BLOCK][start..start + self.dimensions];
            // The scale of the query is a factor of all of them.
            let cosine = dot(&codes, row) * self.scales[index];
            if cosine > threshold {
                threshold = best.push(cosine, u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        let best = best.into_sorted().into_iter();
        best.map(|(_, ordinal)| ordinal).collect()
    }
}

/// Writes the codes of a vector and returns their scale.
fn quantise(vector: &[f32], codes: &mut [i8]) -> f32 {
    let largest = vector.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    if largest == 0.0 {
        codes.fill(0);
        return 0.0;
    }
    let factor = LARGEST / largest;
    for (code, value) in codes.iter_mut().zip(vector) {
        *code = (value * factor).round() as i8;
    }
    largest / LARGEST
}

/// Returns the dot product of two equally long rows of codes.
fn dot(a: &[i8], b: &[i8]) -> f32 {
    i8::dot(a, b).map_or(0.0, |sum| sum as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
        let mut random = fastrand::Rng::with_seed(5);
        let unit = |mut v: Vec<f32>| {
            let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            v.iter_mut().for_each(|x| *x /= length);
            v
        };
        (0..count)
            .map(|_| unit((0..dimensions).map(|_| random.f32() - 0.5).collect()))
            .collect()
    }

    fn exact(all: &[Vec<f32>], query: &[f32], among: &FixedBitSet, count: usize) -> Vec<u32> {
        let cosine = |n: usize| cairn_models::cosine(&all[n], query);
        let mut order: Vec<usize> = among.ones().collect();
        order.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));
        order.iter().take(count).map(|n| *n as u32).collect()
    }

    #[test]
    fn the_nearest_ten_are_among_the_first_fifteen() {
        let all = vectors(5000, 384);
        let mut matrix = Matrix::new(384);
        for (n, vector) in all.iter().enumerate() {
            matrix.set(n as u32, vector);
        }
        let mut every_third = FixedBitSet::with_capacity(5000);
        (0..5000).step_by(3).for_each(|n| every_third.insert(n));
        for query in vectors(20, 384) {
            let found = matrix.nearest(&query, &every_third, 15);
            for right in exact(&all, &query, &every_third, 10) {
                assert!(found.contains(&right));
            }
        }
    }

    #[test]
    fn removed_vectors_are_not_found() {
        let all = vectors(3, 8);
        let mut matrix = Matrix::new(8);
        for (n, vector) in all.iter().enumerate() {
            matrix.set(n as u32, vector);
        }
        matrix.remove(1);
        let mut among = FixedBitSet::with_capacity(3);
        among.insert_range(..);
        let mut found = matrix.nearest(&all[1], &among, 3);
        found.sort_unstable();
        assert_eq!(found, [0, 2]);
    }
}
