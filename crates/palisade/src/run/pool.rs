//! Worker threads: lanes go out with some chunks and come home with what they made of it.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use palisade_events::Chunk;

use crate::engine::{LaneOutput, LaneWork};
use crate::error::{Error, Result};

/// Lanes that may be out at once: more than any sensible number of threads can work on.
const OUT_MAX: usize = 256;

/// What a lane is sent out with.
pub(super) enum Task {
    /// Records to work, in neighbouring chunks.
    Chunks(Vec<Chunk>),
    /// The input has ended for good: what is held in assembly closes.
    Finish,
}

/// A lane that came home.
pub(super) struct Home {
    pub(super) work: LaneWork,
    pub(super) output: Result<LaneOutput>,
}

/// The threads and their queues.
pub(super) struct Pool {
    tasks: Option<SyncSender<(LaneWork, Task)>>,
    homes: Receiver<Home>,
    threads: Vec<JoinHandle<()>>,
    out: usize,
}

impl Pool {
    /// Starts `workers` threads.
    pub(super) fn start(workers: usize) -> Result<Self> {
        let (tasks, task_rx) = sync_channel::<(LaneWork, Task)>(OUT_MAX);
        let (home_tx, homes) = sync_channel::<Home>(OUT_MAX);
        let task_rx = Arc::new(Mutex::new(task_rx));
        let mut threads = Vec::with_capacity(workers);
        for number in 0..workers.max(1) {
            let (task_rx, home_tx) = (Arc::clone(&task_rx), home_tx.clone());
            let body = move || {
                while let Some((mut work, task)) = next(&task_rx) {
                    let output = match task {
                        Task::Chunks(chunks) => work.process_all(chunks),
                        Task::Finish => work.finish(),
                    };
                    if home_tx.send(Home { work, output }).is_err() {
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("lane-{number}")).spawn(body);
            threads.push(thread.map_err(Error::io("starting a lane thread"))?);
        }
        Ok(Self { tasks: Some(tasks), homes, threads, out: 0 })
    }

    /// Whether another lane may go out.
    pub(super) fn has_room(&self) -> bool {
        self.out < OUT_MAX
    }

    /// Lanes that are out.
    pub(super) fn out(&self) -> usize {
        self.out
    }

    /// Sends a lane out.
    pub(super) fn send(&mut self, work: LaneWork, task: Task) -> Result<()> {
        let tasks = self.tasks.as_ref().ok_or(Error::Thread("lane"))?;
        tasks.send((work, task)).map_err(|_| Error::Thread("lane"))?;
        self.out += 1;
        Ok(())
    }

    /// A lane that came home, if one does within `wait`.
    pub(super) fn receive(&mut self, wait: Duration) -> Result<Option<Home>> {
        let home = if wait.is_zero() {
            match self.homes.try_recv() {
                Ok(home) => Some(home),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return Err(Error::Thread("lane")),
            }
        } else {
            self.homes.recv_timeout(wait).ok()
        };
        match &home {
            Some(_) => self.out -= 1,
            // A panic takes its lane with it.
            None if self.out > 0 && self.threads.iter().any(JoinHandle::is_finished) => {
                return Err(Error::Thread("lane"));
            }
            None => {}
        }
        Ok(home)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tasks = None;
        // Lanes that are still out have room to come home: the queue holds as many as may be out.
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn next(tasks: &Mutex<Receiver<(LaneWork, Task)>>) -> Option<(LaneWork, Task)> {
    tasks.lock().ok()?.recv().ok()
}
