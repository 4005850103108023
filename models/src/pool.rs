//! The inference threads: copies of one model that share two queues. Work is split into small batches, and queries have priority over passages between batches,
//! so a search never waits for more than one batch of a running ingestion. Several copies with few threads each are faster than one copy with many: the threads
//! of one copy synchronize after every layer, and wait for the slowest whenever another process uses a processor.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};

use crate::embed::Priority;
use crate::{Error, Result};

/// Runs one batch; called only on its own inference thread.
pub(crate) type Run = Box<dyn FnMut(&[String]) -> Result<Vec<Vec<f32>>> + Send>;

/// Vectors of a batch with the positions of its texts.
type Answer = (Vec<usize>, Result<Vec<Vec<f32>>>);

struct Batch {
    texts: Vec<String>,
    /// Position of each text in the caller's list.
    places: Vec<usize>,
    answer: mpsc::Sender<Answer>,
}

#[derive(Default)]
struct Queues {
    query: VecDeque<Batch>,
    bulk: VecDeque<Batch>,
    closed: bool,
}

pub(crate) struct Inference {
    queues: Arc<(Mutex<Queues>, Condvar)>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Inference {
    pub(crate) fn start(name: &str, copies: Vec<Run>) -> Result<Self> {
        let queues: Arc<(Mutex<Queues>, Condvar)> = Arc::default();
        let threads = copies
            .into_iter()
            .map(|mut run| {
                let shared = Arc::clone(&queues);
                std::thread::Builder::new()
                    .name("inference".to_owned())
                    .spawn(move || {
                        while let Some(batch) = next(&shared) {
                            let outcome = run(&batch.texts);
                            // The receiver may be gone if the caller has been cancelled.
                            let _ = batch.answer.send((batch.places, outcome));
                        }
                    })
                    .map_err(|e| Error::load(name, e))
            })
            .collect::<Result<_>>()?;
        Ok(Self { queues, threads })
    }

    /// Embeds texts that are already grouped into batches of positions; blocks until all are done.
    pub(crate) fn embed(
        &self,
        texts: &[String],
        batches: Vec<Vec<usize>>,
        priority: Priority,
    ) -> Result<Vec<Vec<f32>>> {
        let (answer, answers) = mpsc::channel();
        {
            let (lock, ready) = &*self.queues;
            let mut queues = lock.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = match priority {
                Priority::Query => &mut queues.query,
                Priority::Bulk => &mut queues.bulk,
            };
            for places in batches {
                let texts = places.iter().map(|i| texts[*i].clone()).collect();
                queue.push_back(Batch {
                    texts,
                    places,
                    answer: answer.clone(),
                });
            }
            ready.notify_all();
        }
        drop(answer);
        let mut vectors = vec![Vec::new(); texts.len()];
        for (places, outcome) in answers {
            for (place, vector) in places.into_iter().zip(outcome?) {
                vectors[place] = vector;
            }
        }
        if vectors.iter().any(Vec::is_empty) {
            return Err(Error::Inference("the inference thread stopped".to_owned()));
        }
        Ok(vectors)
    }
}

impl Drop for Inference {
    fn drop(&mut self) {
        let (lock, ready) = &*self.queues;
        lock.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        ready.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of the thread was already reported to its caller as an error.
            let _ = thread.join();
        }
    }
}

fn next(shared: &(Mutex<Queues>, Condvar)) -> Option<Batch> {
    let (lock, ready) = shared;
    let mut queues = lock.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if queues.closed {
            return None;
        }
        let query = queues.query.pop_front();
        if let Some(batch) = query.or_else(|| queues.bulk.pop_front()) {
            return Some(batch);
        }
        queues = ready.wait(queues).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_overtake_bulk_work_and_every_answer_lands_at_its_place() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let (started, wait_start) = mpsc::channel();
        let (release, wait_release) = mpsc::channel::<()>();
        let seen = Arc::clone(&order);
        let run: Run = Box::new(move |texts| {
            if texts[0] == "b0" {
                started.send(()).expect("the test listens");
                wait_release.recv().expect("the test releases");
            }
            seen.lock()
                .expect("not poisoned")
                .extend(texts.iter().cloned());
            Ok(texts.iter().map(|t| vec![t.len() as f32]).collect())
        });
        let pool = Inference::start("test", vec![run]).expect("a thread");
        std::thread::scope(|scope| {
            let bulk = scope.spawn(|| {
                pool.embed(
                    &["b0".into(), "b111".into()],
                    vec![vec![0], vec![1]],
                    Priority::Bulk,
                )
            });
            wait_start.recv().expect("the first batch runs");
            let query =
                scope.spawn(|| pool.embed(&["query".into()], vec![vec![0]], Priority::Query));
            while pool.queues.0.lock().expect("not poisoned").query.is_empty() {
                std::thread::yield_now();
            }
            release.send(()).expect("the batch waits");
            assert_eq!(
                query.join().expect("no panic").expect("embedded"),
                vec![vec![5.0]]
            );
            assert_eq!(
                bulk.join().expect("no panic").expect("embedded"),
                vec![vec![2.0], vec![4.0]]
            );
        });
        assert_eq!(
            *order.lock().expect("not poisoned"),
            ["b0", "query", "b111"]
        );
    }
}
