//! The in-process source: a program hands over records itself, and waits while the pipeline is behind.
//!
//! Each [`ChannelSender`] feeds one lane, whose offsets count its records from 0. After a restart the pipeline says where
//! to go on ([`ChannelSender::begin`]); a program that can repeat its input from there loses nothing and doubles nothing.
//! Dropping a sender ends its lane.
//!
//! Not here: pipelines without a lake, which need no source at all.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_events::seam::{Hold, Resume, Signal, Source, SourceError};
use palisade_events::{Chunk, Lane};

/// Bytes that may wait on one lane; a sender beyond them waits. A single longer record still passes.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The pipeline is gone: nothing takes records any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has ended")]
pub struct Closed;

/// Makes a source named `source` with one lane for each name in `lanes`, and the lanes' senders in the same order.
pub fn channel(source: &str, lanes: &[&str]) -> (Vec<ChannelSender>, ChannelSource) {
    let post = |name: &&str| Post::new(Lane::channel(source, name));
    let shared = Arc::new(Shared { posts: Mutex::new(lanes.iter().map(post).collect()), ..Shared::default() });
    let senders = (0..lanes.len()).map(|index| ChannelSender { shared: Arc::clone(&shared), index }).collect();
    (senders, ChannelSource { name: source.to_owned(), shared, joined: false, turn: 0 })
}

/// Hands over the records of one lane.
#[derive(Debug)]
pub struct ChannelSender {
    shared: Arc<Shared>,
    index: usize,
}

/// The pipeline's end of all lanes.
#[derive(Debug)]
pub struct ChannelSource {
    name: String,
    shared: Arc<Shared>,
    joined: bool,
    turn: usize,
}

#[derive(Debug, Default)]
struct Shared {
    posts: Mutex<Vec<Post>>,
    /// A sender may go on: its lane was started, has room, has landed, or the source is gone.
    to_senders: Condvar,
    /// The source has something to take.
    to_source: Condvar,
}

#[derive(Debug)]
struct Post {
    lane: Arc<Lane>,
    waiting: Chunk,
    /// Offset of the next record, once the lane is started.
    next: Option<i64>,
    landed: i64,
    hold: Hold,
    /// It was told that nothing waits.
    caught_up: bool,
    /// The sender is gone.
    ended: bool,
    /// The end was told.
    told: bool,
    /// The source is gone, or has let go of the lane.
    closed: bool,
}

impl Post {
    fn new(lane: Lane) -> Self {
        let lane = Arc::new(lane);
        Self {
            waiting: Chunk::new(Arc::clone(&lane)),
            lane,
            next: None,
            landed: 0,
            hold: Hold::Release,
            caught_up: false,
            ended: false,
            told: false,
            closed: false,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Post>> {
        // No code that holds the lock can leave a post half changed.
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` gives something, or the source is gone.
    fn wait<T>(&self, index: usize, mut ready: impl FnMut(&mut Post) -> Option<T>) -> Result<T, Closed> {
        let mut posts = self.lock();
        loop {
            let post = &mut posts[index];
            if let Some(value) = ready(post) {
                return Ok(value);
            }
            if post.closed {
                return Err(Closed);
            }
            posts = self.to_senders.wait(posts).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl ChannelSender {
    /// Waits until the pipeline has started the lane; the number of the record to begin with. It is 0 on a first run.
    ///
    /// # Errors
    /// When the pipeline has ended.
    pub fn begin(&self) -> Result<i64, Closed> {
        self.shared.wait(self.index, |post| post.next)
    }

    /// Hands over the next record; waits while the lane is full. Returns its number.
    ///
    /// # Errors
    /// When the pipeline has ended. The record was not taken.
    pub fn send(&self, record: &[u8]) -> Result<i64, Closed> {
        let number = self.shared.wait(self.index, |post| {
            let next = post.next.filter(|_| !post.closed)?;
            if !post.waiting.records.is_empty() && post.waiting.bytes.len() + record.len() > WAITING_BYTES_MAX {
                return None;
            }
            post.waiting.push(record, next, None, None);
            post.next = Some(next + 1);
            Some(next)
        })?;
        self.shared.to_source.notify_one();
        Ok(number)
    }

    /// Records before this number are in the lake for good, together with what was found in them.
    pub fn landed(&self) -> i64 {
        self.shared.lock()[self.index].landed
    }

    /// Waits until the record of this number has landed.
    ///
    /// # Errors
    /// When the pipeline ends without it.
    pub fn wait_landed(&self, number: i64) -> Result<(), Closed> {
        self.shared.wait(self.index, |post| (post.landed > number).then_some(()))
    }
}

impl Drop for ChannelSender {
    fn drop(&mut self) {
        self.shared.lock()[self.index].ended = true;
        self.shared.to_source.notify_one();
    }
}

impl ChannelSource {
    fn take(&mut self, posts: &mut [Post]) -> Option<Signal> {
        for step in 0..posts.len() {
            let index = (self.turn + step) % posts.len();
            let post = &mut posts[index];
            if post.hold == Hold::Hold || post.next.is_none() || post.closed || post.told {
                continue;
            }
            if !post.waiting.records.is_empty() {
                self.turn = index + 1;
                post.caught_up = false;
                let empty = Chunk::new(Arc::clone(&post.lane));
                return Some(Signal::Records(std::mem::replace(&mut post.waiting, empty)));
            }
            post.told = post.ended;
            if post.told || !post.caught_up {
                post.caught_up = true;
                return Some(Signal::CaughtUp(Arc::clone(&post.lane)));
            }
        }
        posts.iter().all(|post| post.told || post.closed).then_some(Signal::Finished)
    }

    fn each(&self, lanes: &[Arc<Lane>], mut change: impl FnMut(usize, &mut Post)) {
        for post in self.shared.lock().iter_mut() {
            if let Some(index) = lanes.iter().position(|lane| *lane == post.lane) {
                change(index, post);
            }
        }
        self.shared.to_senders.notify_all();
    }
}

impl Source for ChannelSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self, wait: Duration) -> Result<Signal, SourceError> {
        let shared = Arc::clone(&self.shared);
        let mut posts = shared.lock();
        if !self.joined {
            self.joined = true;
            return Ok(Signal::Joined(posts.iter().map(|post| Arc::clone(&post.lane)).collect()));
        }
        let mut signal = self.take(&mut posts);
        if signal.is_none() && !wait.is_zero() {
            let woken = shared.to_source.wait_timeout(posts, wait);
            posts = woken.unwrap_or_else(PoisonError::into_inner).0;
            signal = self.take(&mut posts);
        }
        drop(posts);
        // What was taken made room.
        shared.to_senders.notify_all();
        Ok(signal.unwrap_or(Signal::Nothing))
    }

    fn start(&mut self, lanes: &[(Arc<Lane>, Option<Resume>)]) -> Result<(), SourceError> {
        let names: Vec<Arc<Lane>> = lanes.iter().map(|(lane, _)| Arc::clone(lane)).collect();
        self.each(&names, |index, post| {
            let next = lanes[index].1.as_ref().map_or(0, |resume| resume.next_offset);
            post.next = Some(next);
            post.landed = next;
        });
        Ok(())
    }

    fn release(&mut self, lanes: &[Arc<Lane>]) -> Result<(), SourceError> {
        self.each(lanes, |_, post| post.closed = true);
        Ok(())
    }

    fn hold(&mut self, lane: &Arc<Lane>, hold: Hold) {
        self.each(std::slice::from_ref(lane), |_, post| post.hold = hold);
    }

    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]) {
        let names: Vec<Arc<Lane>> = lanes.iter().map(|(lane, _)| Arc::clone(lane)).collect();
        self.each(&names, |index, post| post.landed = post.landed.max(lanes[index].1));
    }
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        self.shared.lock().iter_mut().for_each(|post| post.closed = true);
        self.shared.to_senders.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(source: &mut ChannelSource, next: Option<i64>) -> Arc<Lane> {
        let Signal::Joined(lanes) = source.next(Duration::ZERO).unwrap() else { panic!("lanes join first") };
        source.start(&[(Arc::clone(&lanes[0]), next.map(Resume::at))]).unwrap();
        Arc::clone(&lanes[0])
    }

    #[test]
    fn records_are_numbered_from_where_the_pipeline_was_and_end_with_the_sender() {
        let (mut senders, mut source) = channel("app", &["one"]);
        let sender = senders.remove(0);
        let lane = started(&mut source, Some(7));
        assert_eq!(sender.begin(), Ok(7));
        assert_eq!((sender.send(b"a"), sender.send(b"bc")), (Ok(7), Ok(8)));
        let Signal::Records(chunk) = source.next(Duration::ZERO).unwrap() else { panic!("records were sent") };
        let got: Vec<(i64, &[u8])> = chunk.records.iter().map(|r| (r.offset, chunk.payload(r))).collect();
        assert_eq!(got, [(7, &b"a"[..]), (8, &b"bc"[..])]);
        assert_eq!(sender.landed(), 7);
        source.landed(&[(lane, 9)]);
        assert_eq!(sender.wait_landed(8), Ok(()));
        assert!(matches!(source.next(Duration::ZERO).unwrap(), Signal::CaughtUp(_)));
        assert!(matches!(source.next(Duration::ZERO).unwrap(), Signal::Nothing));
        drop(sender);
        assert!(matches!(source.next(Duration::ZERO).unwrap(), Signal::CaughtUp(_)));
        assert!(matches!(source.next(Duration::ZERO).unwrap(), Signal::Finished));
    }

    #[test]
    fn a_sender_waits_while_its_lane_is_full_and_learns_that_the_pipeline_is_gone() {
        let (mut senders, mut source) = channel("app", &["one"]);
        let sender = senders.remove(0);
        let lane = started(&mut source, None);
        source.hold(&lane, Hold::Hold);
        let record = vec![b'x'; 300 << 10];
        let work = move || {
            let sent = (0..8).map_while(|_| sender.send(&record).ok()).count();
            (sent, sender.send(b"more"))
        };
        let thread = std::thread::Builder::new().spawn(work).unwrap();
        // Three records fit below the mebibyte; the fourth waits however long the lane is held.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(source.shared.lock()[0].waiting.records.len(), 3);
        assert!(matches!(source.next(Duration::from_millis(20)).unwrap(), Signal::Nothing), "held lanes say nothing");
        source.hold(&lane, Hold::Release);
        let mut taken = 0;
        while taken < 6 {
            if let Signal::Records(chunk) = source.next(Duration::from_millis(500)).unwrap() {
                assert!(chunk.bytes.len() <= WAITING_BYTES_MAX);
                taken += chunk.records.len();
            }
        }
        drop(source);
        let (sent, last) = thread.join().unwrap();
        assert!(sent >= 6, "{sent}");
        assert_eq!(last, Err(Closed));
    }
}
