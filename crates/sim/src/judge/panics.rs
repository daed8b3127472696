//! Panics of simulated nodes. Its runtime catches the panic of a task, and the node may seem well without it; it is wrong all the same.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    /// What panicked on this thread, on which a whole run takes place.
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// Begins to note the panics of a run; forgets those of a run before.
pub fn watch() {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let at = info.location().map_or_else(String::new, |location| {
                // The file's name without its folder: the same on every machine.
                let file = location.file().rsplit('/').next().unwrap_or_default();
                format!(" at {file}:{}", location.line())
            });
            let said = info.payload_as_str().unwrap_or_default();
            // A panic while the list is borrowed cannot be: nothing below panics.
            SEEN.with_borrow_mut(|seen| seen.push(format!("a node panicked{at}: {said}")));
            before(info);
        }));
    });
    SEEN.take();
}

/// The panics since [`watch`] was called on this thread.
#[must_use]
pub fn seen() -> Vec<String> {
    SEEN.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_is_seen_once() {
        watch();
        assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
        let seen = seen();
        assert!(seen.len() == 1 && seen.iter().all(|text| text.ends_with(": on purpose")), "{seen:?}");
        watch();
        assert_eq!(super::seen(), Vec::<String>::new());
    }
}
