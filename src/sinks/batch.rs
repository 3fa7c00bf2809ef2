//! Puts several sends to one target into one request, for protocols whose requests take many entries.
//!
//! A send brings an entry and gets the answer for that entry back; entries that come while they may go together leave in
//! one call of `deliver`, made by a task of its own, so that a send that is given up takes nothing from the others.
//!
//! Invariant: an entry leaves at once while no request to its target is in flight, else when none is any more, when the
//! batch is full, or after the linger time, whichever is first. A lone entry never waits for others.
//! Invariant: each entry gets its own answer; an entry whose send was given up before the batch left is not sent.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How much fits into one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries at most.
    pub(super) entries: usize,
    /// The sum of their bytes at most.
    pub(super) bytes: usize,
    /// How long an entry waits for others at most.
    pub(super) linger: Duration,
}

/// What waits for one target. Entries become answers of type `A`.
#[derive(Debug)]
pub(super) struct Batcher<E, A> {
    limits: Limits,
    state: Arc<Mutex<State<E, A>>>,
}

#[derive(Debug)]
struct State<E, A> {
    /// The batch that is being collected; empty: none is.
    open: Vec<Waiting<E, A>>,
    open_bytes: usize,
    /// Counts batches, so that a timer knows whether its own is still open.
    generation: u64,
    in_flight: usize,
}

#[derive(Debug)]
struct Waiting<E, A> {
    entry: E,
    answer: oneshot::Sender<A>,
}

impl<E: Send + 'static, A: Send + 'static> Batcher<E, A> {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            open: Vec::new(),
            open_bytes: 0,
            generation: 0,
            in_flight: 0,
        };
        Self {
            limits,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Sends an entry of so many bytes with others; `deliver` makes the request for all of them and gives an answer for
    /// each, in their order. `None`: it gave none for this one, or was ended with the process.
    ///
    /// # Cancel safety
    /// An entry whose send is dropped may have been sent; others are not affected.
    pub(super) async fn send<D, F>(&self, entry: E, bytes: usize, deliver: D) -> Option<A>
    where
        D: Fn(Vec<E>) -> F + Clone + Send + 'static,
        F: Future<Output = Vec<A>> + Send,
    {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting {
            entry,
            answer: sender,
        };
        self.add(waiting, bytes, deliver);
        receiver.await.ok()
    }

    fn add<D, F>(&self, waiting: Waiting<E, A>, bytes: usize, deliver: D)
    where
        D: Fn(Vec<E>) -> F + Clone + Send + 'static,
        F: Future<Output = Vec<A>> + Send,
    {
        let mut state = lock(&self.state);
        if state.open_bytes + bytes > self.limits.bytes {
            self.leave(&mut state, deliver.clone());
        }
        state.open.push(waiting);
        state.open_bytes += bytes;
        if state.in_flight == 0 || state.open.len() >= self.limits.entries {
            self.leave(&mut state, deliver);
        } else if state.open.len() == 1 {
            self.leave_later(state.generation, deliver);
        }
    }

    /// Lets the open batch go when it has lingered.
    fn leave_later<D, F>(&self, generation: u64, deliver: D)
    where
        D: Fn(Vec<E>) -> F + Clone + Send + 'static,
        F: Future<Output = Vec<A>> + Send,
    {
        let this = self.share();
        tokio::spawn(async move {
            tokio::time::sleep(this.limits.linger).await;
            let mut state = lock(&this.state);
            if state.generation == generation {
                this.leave(&mut state, deliver);
            }
        });
    }

    /// Lets the open batch go now, and what has come meanwhile after it.
    fn leave<D, F>(&self, state: &mut State<E, A>, deliver: D)
    where
        D: Fn(Vec<E>) -> F + Clone + Send + 'static,
        F: Future<Output = Vec<A>> + Send,
    {
        let Some(batch) = state.take() else { return };
        state.in_flight += 1;
        let this = self.share();
        tokio::spawn(async move {
            let in_flight = InFlight(&this.state);
            run(batch, deliver.clone()).await;
            drop(in_flight);
            let mut state = lock(&this.state);
            // While others are in flight more will come: a batch for each that ends would be a small one.
            if state.in_flight == 0 {
                this.leave(&mut state, deliver);
            }
        });
    }

    fn share(&self) -> Self {
        Self {
            limits: self.limits,
            state: Arc::clone(&self.state),
        }
    }
}

impl<E, A> State<E, A> {
    /// Closes the open batch; `None`: there is none.
    fn take(&mut self) -> Option<Vec<Waiting<E, A>>> {
        self.generation += 1;
        self.open_bytes = 0;
        let batch = mem::take(&mut self.open);
        (!batch.is_empty()).then_some(batch)
    }
}

/// Makes one request and hands the answers out.
async fn run<E, A, D, F>(batch: Vec<Waiting<E, A>>, deliver: D)
where
    D: Fn(Vec<E>) -> F,
    F: Future<Output = Vec<A>>,
{
    let (entries, senders): (Vec<E>, Vec<oneshot::Sender<A>>) = batch
        .into_iter()
        .filter(|waiting| !waiting.answer.is_closed())
        .map(|waiting| (waiting.entry, waiting.answer))
        .unzip();
    if entries.is_empty() {
        return;
    }
    for (answer, sender) in deliver(entries).await.into_iter().zip(senders) {
        // Who was given up meanwhile needs no answer.
        sender.send(answer).ok();
    }
}

/// A request in flight, over a panic of it too.
struct InFlight<'a, E, A>(&'a Mutex<State<E, A>>);

impl<E, A> Drop for InFlight<'_, E, A> {
    fn drop(&mut self) {
        lock(self.0).in_flight -= 1;
    }
}

/// No holder panics, and what it would leave is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::join_all;
    use futures_util::poll;
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;

    const LINGER: Duration = Duration::from_millis(5);

    fn batcher(entries: usize, bytes: usize) -> Batcher<u32, u32> {
        Batcher::new(Limits {
            entries,
            bytes,
            linger: LINGER,
        })
    }

    /// A target that answers with ten times the entry, holds requests while it has no permits, and keeps what came.
    #[derive(Clone)]
    struct Target {
        requests: Arc<Mutex<Vec<Vec<u32>>>>,
        permits: Arc<Semaphore>,
    }

    impl Target {
        fn new(permits: usize) -> Self {
            Self {
                requests: Arc::default(),
                permits: Arc::new(Semaphore::new(permits)),
            }
        }

        fn deliver(
            &self,
        ) -> impl Fn(Vec<u32>) -> futures_util::future::BoxFuture<'static, Vec<u32>>
        + Clone
        + Send
        + 'static {
            let this = self.clone();
            move |entries: Vec<u32>| {
                let this = this.clone();
                Box::pin(async move {
                    lock(&this.requests).push(entries.clone());
                    this.permits.acquire().await.expect("open").forget();
                    entries.into_iter().map(|entry| entry * 10).collect()
                })
            }
        }

        fn requests(&self) -> Vec<Vec<u32>> {
            lock(&self.requests).clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_entry_leaves_at_once() {
        let (batcher, target) = (batcher(10, 100), Target::new(9));
        let begin = Instant::now();
        for entry in 1..=3 {
            let answer = batcher.send(entry, 1, target.deliver()).await;
            assert_eq!(answer, Some(entry * 10));
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(target.requests(), [[1], [2], [3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_in_flight_entries_are_collected_and_each_gets_its_own_answer() {
        let (batcher, target) = (batcher(10, 100), Target::new(9));
        let sends = (1..=5).map(|entry| batcher.send(entry, 1, target.deliver()));
        let answers = join_all(sends).await;
        assert_eq!(answers, [10, 20, 30, 40, 50].map(Some));
        assert_eq!(target.requests(), [vec![1], vec![2, 3, 4, 5]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_goes_on_filling_while_any_request_is_in_flight() {
        let (batcher, target) = (batcher(2, 100), Target::new(0));
        // The first alone, two together, and one that finds both in flight.
        let sends = (1..=4).map(|entry| batcher.send(entry, 1, target.deliver()));
        let mut sends = pin!(join_all(sends));
        assert!(poll!(sends.as_mut()).is_pending());
        target.permits.add_permits(1);
        tokio::time::sleep(LINGER / 2).await;
        assert_eq!(target.requests(), [vec![1], vec![2, 3]]);
        target.permits.add_permits(1);
        tokio::time::sleep(LINGER / 4).await;
        assert_eq!(target.requests(), [vec![1], vec![2, 3], vec![4]]);
        target.permits.add_permits(1);
        assert_eq!(sends.await.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_waits_no_longer_than_the_linger_time() {
        let (batcher, target) = (batcher(10, 100), Target::new(0));
        let begin = Instant::now();
        let first = tokio::spawn({
            let (state, target) = (batcher.share(), target.clone());
            async move { state.send(1, 1, target.deliver()).await }
        });
        let second = tokio::spawn({
            let (state, target) = (batcher.share(), target.clone());
            async move { state.send(2, 1, target.deliver()).await }
        });
        while target.requests().len() < 2 {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        let waited = begin.elapsed();
        assert!(
            waited >= LINGER && waited < LINGER + Duration::from_millis(2),
            "{waited:?}"
        );
        target.permits.add_permits(2);
        assert_eq!(first.await.expect("no panic"), Some(10));
        assert_eq!(second.await.expect("no panic"), Some(20));
    }

    #[tokio::test(start_paused = true)]
    async fn full_batches_leave_at_once() {
        for (entries, bytes, expected) in [
            (3, 100, vec![vec![1], vec![2, 3, 4], vec![5, 6, 7], vec![8]]),
            (10, 6, vec![vec![1], vec![2, 3, 4], vec![5, 6, 7], vec![8]]),
        ] {
            let (batcher, target) = (batcher(entries, bytes), Target::new(0));
            let sends = (1..=8).map(|entry| batcher.send(entry, 2, target.deliver()));
            let mut sends = pin!(join_all(sends));
            assert!(poll!(sends.as_mut()).is_pending());
            tokio::time::sleep(LINGER * 2).await;
            assert_eq!(target.requests(), expected);
            target.permits.add_permits(9);
            assert_eq!(sends.await.len(), 8);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_is_given_up_is_not_sent_and_harms_no_other() {
        let (batcher, target) = (batcher(10, 100), Target::new(9));
        let mut first = pin!(batcher.send(1, 1, target.deliver()));
        assert!(poll!(first.as_mut()).is_pending());
        {
            let mut given_up = pin!(batcher.send(2, 1, target.deliver()));
            assert!(poll!(given_up.as_mut()).is_pending());
        }
        assert_eq!(batcher.send(3, 1, target.deliver()).await, Some(30));
        assert_eq!(first.await, Some(10));
        assert_eq!(target.requests(), [[1], [3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_answers_answers_none_and_the_next_ones_go_on() {
        let (batcher, target) = (batcher(10, 100), Target::new(9));
        let silent = |_entries| async { Vec::new() };
        assert_eq!(batcher.send(1, 1, silent).await, None);
        let panics = |_entries| async { panic!("a request that ends badly") };
        assert_eq!(batcher.send(2, 1, panics).await, None);
        assert_eq!(batcher.send(3, 1, target.deliver()).await, Some(30));
        assert_eq!(lock(&batcher.state).in_flight, 0);
    }
}
