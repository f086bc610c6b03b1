//! The queue, with time as a number and any order of events.

use super::options::BatchOptions;
use super::request_queue::{Next, Queued, RequestQueue};
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
struct Fake {
    number: usize,
    images: usize,
    /// `None` for a call, which joins nothing.
    size: Option<u8>,
    arrived: Instant,
    deadline: Option<Instant>,
    is_abandoned: Rc<Cell<bool>>,
}

impl Queued for Fake {
    fn arrived(&self) -> Instant {
        self.arrived
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn images(&self) -> usize {
        self.images
    }

    fn joins(&self, first: &Self) -> bool {
        self.size.is_some() && self.size == first.size
    }

    fn is_abandoned(&self) -> bool {
        self.is_abandoned.get()
    }
}

#[derive(Clone, Debug)]
enum Event {
    Push {
        images: usize,
        size: Option<u8>,
        deadline: Option<u64>,
    },
    Abandon(usize),
    /// Milliseconds pass.
    Pass(u64),
    Compute,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let images = prop_oneof![4 => Just(1usize), 1 => 2usize..12];
    let size = prop_oneof![6 => Just(Some(0u8)), 2 => Just(Some(1u8)), 1 => Just(None)];
    let push = (images, size, proptest::option::weighted(0.3, 0u64..30)).prop_map(
        |(images, size, deadline)| Event::Push {
            images: if size.is_some() { images } else { 1 },
            size,
            deadline,
        },
    );
    let event = prop_oneof![
        5 => push,
        1 => any::<usize>().prop_map(Event::Abandon),
        2 => (0u64..8).prop_map(Event::Pass),
        2 => Just(Event::Compute),
    ];
    proptest::collection::vec(event, 1..80)
}

fn options() -> impl Strategy<Value = BatchOptions> {
    (1usize..12, 0u64..10, 1usize..20).prop_map(|(max_batch, max_wait, queue)| BatchOptions {
        max_batch,
        max_wait: Duration::from_millis(max_wait),
        queue,
    })
}

/// All that was pushed, and what became of it.
struct Run {
    options: BatchOptions,
    queue: RequestQueue<Fake>,
    now: Instant,
    pushed: Vec<Fake>,
    waiting: Vec<Fake>,
}

impl Run {
    fn push(&mut self, images: usize, size: Option<u8>, deadline: Option<u64>) {
        let waiting: usize = self.waiting.iter().map(|fake| fake.images).sum();
        let has_room = self.waiting.is_empty() || waiting + images <= self.options.queue;
        assert_eq!(self.queue.has_room(images), has_room);
        if !has_room {
            return;
        }
        let deadline = deadline.map(|after| self.now + Duration::from_millis(after));
        let (number, arrived, is_abandoned) = (self.pushed.len(), self.now, Rc::default());
        let fake = Fake { number, images, size, arrived, deadline, is_abandoned };
        self.pushed.push(fake.clone());
        self.waiting.push(fake.clone());
        self.queue.push(fake);
    }

    /// Each request is left out for its reason, and no other.
    fn sweep(&mut self) {
        let left_out = self.queue.sweep(self.now);
        let is_expired = |fake: &Fake| fake.deadline.is_some_and(|it| it <= self.now);
        let is_abandoned = |fake: &Fake| fake.is_abandoned.get() && !is_expired(fake);
        let numbers = |fakes: &[Fake]| fakes.iter().map(|it| it.number).collect::<Vec<_>>();
        let of = |is: &dyn Fn(&Fake) -> bool| {
            numbers(&self.waiting.iter().filter(|it| is(it)).cloned().collect::<Vec<_>>())
        };
        assert_eq!(numbers(&left_out.expired), of(&is_expired));
        assert_eq!(numbers(&left_out.abandoned), of(&is_abandoned));
        let now = self.now;
        let stays =
            |it: &Fake| !it.is_abandoned.get() && it.deadline.is_none_or(|deadline| deadline > now);
        self.waiting.retain(stays);
        assert_eq!(self.queue.images(), self.waiting.iter().map(|it| it.images).sum::<usize>());
    }

    fn compute(&mut self, is_closed: bool) {
        self.sweep();
        let BatchOptions { max_batch, max_wait, .. } = self.options;
        match self.queue.next(self.now, is_closed) {
            Next::Idle => assert!(self.waiting.is_empty()),
            Next::WaitUntil(until) => {
                let first = &self.waiting[0];
                assert!(!is_closed && until > self.now && until == first.arrived + max_wait);
                // More requests could join all that are there, and nothing would be late.
                assert!(self.waiting.iter().map(|it| it.images).sum::<usize>() < max_batch);
                assert!(self.waiting.iter().all(|it| it.joins(first) || first.number == it.number));
                assert!(self.waiting.iter().all(|it| it.deadline.is_none_or(|it| it > until)));
                assert!(first.size.is_some());
            }
            Next::Compute(batch) => {
                let numbers = batch.iter().map(|it| it.number);
                assert!(numbers.eq(self.waiting[..batch.len()].iter().map(|it| it.number)));
                let sizes: Vec<usize> = batch.iter().map(|it| it.images).collect();
                let images: usize = sizes.iter().sum();
                if batch.len() > 1 {
                    assert!(batch.iter().all(|it| it.joins(&batch[0])));
                    assert!(images == max_batch || images < max_batch && images.is_power_of_two());
                }
                // No larger batch of such a size was there.
                let mut larger = images;
                for next in &self.waiting[batch.len()..] {
                    larger += next.images;
                    if larger > max_batch || !next.joins(&batch[0]) {
                        break;
                    }
                    assert!(larger != max_batch && !larger.is_power_of_two(), "{sizes:?}");
                }
                self.waiting.drain(..batch.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn requests_are_computed_in_order_once_and_in_good_batches(
        options in options(),
        events in events(),
    ) {
        let queue = RequestQueue::new(options.clone());
        let mut run =
            Run { options, queue, now: Instant::now(), pushed: vec![], waiting: vec![] };
        for event in events {
            match event {
                Event::Push { images, size, deadline } => run.push(images, size, deadline),
                Event::Abandon(which) if !run.pushed.is_empty() => {
                    run.pushed[which % run.pushed.len()].is_abandoned.set(true);
                }
                Event::Abandon(_) => {}
                Event::Pass(milliseconds) => run.now += Duration::from_millis(milliseconds),
                Event::Compute => run.compute(false),
            }
        }
        // Closed, it waits for nothing more, and becomes empty.
        for _ in 0..=run.pushed.len() {
            run.compute(true);
        }
        prop_assert!(run.waiting.is_empty());
    }
}
