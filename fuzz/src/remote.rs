//! The other thread of a live set: it frees and allocates when told to and answers when it has done so. The answer makes a
//! sequence repeat exactly; which heap the thread is on is the allocator's business. It ends with the set, so that thread exits
//! happen between sequences.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bitmag::Bitmag;

enum Order {
    Free(usize, Layout),
    Allocate(Layout),
}

/// The handle to the thread.
pub struct Remote {
    orders: Option<Sender<Order>>,
    answers: Receiver<usize>,
    thread: Option<JoinHandle<()>>,
}

impl Remote {
    pub fn new(allocator: &'static Bitmag) -> Remote {
        let (orders, inbox) = channel();
        let (outbox, answers) = channel();
        let thread = std::thread::spawn(move || {
            for order in inbox {
                let answer = match order {
                    Order::Free(address, layout) => {
                        let pointer = std::ptr::with_exposed_provenance_mut::<u8>(address);
                        // SAFETY: `free` gives up a live block of this allocator and layout.
                        unsafe { allocator.dealloc(pointer, layout) };
                        0
                    }
                    Order::Allocate(layout) => {
                        // SAFETY: a `Size` is at least 1 byte, which is all that `alloc` asks for.
                        let pointer = unsafe { allocator.alloc(layout) };
                        pointer.expose_provenance()
                    }
                };
                if outbox.send(answer).is_err() {
                    return;
                }
            }
        });
        Remote { orders: Some(orders), answers, thread: Some(thread) }
    }

    /// Frees a block that the caller gives up.
    pub fn free(&self, pointer: *mut u8, layout: Layout) {
        self.ask(Order::Free(pointer.expose_provenance(), layout));
    }

    /// A block from the other thread, or NULL.
    pub fn allocate(&self, layout: Layout) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.ask(Order::Allocate(layout)))
    }

    fn ask(&self, order: Order) -> usize {
        let sent = self.orders.as_ref().map(|o| o.send(order));
        assert!(matches!(sent, Some(Ok(()))), "the other thread is gone");
        self.answers.recv().expect("the other thread answers")
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}
