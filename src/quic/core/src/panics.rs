//! What is known of a panic: its text, for the embedding program's log instead of standard error.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on panics of this process are kept for `last_panic`, and not printed.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|info| set(info.to_string().replace('\n', " ")))));
}

/// An error that has no other way out.
pub fn set(text: String) {
    LAST.with_borrow_mut(|last| *last = text);
}

/// Of this thread.
pub fn last_panic() -> String {
    LAST.with_borrow(String::clone)
}
