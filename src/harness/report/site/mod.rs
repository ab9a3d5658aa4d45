//! A site of static pages over a history: an index, a page a scenario with its trends, lists of all
//! sessions, badges and a feed. Values in, text out; what is a file and when it is written is for
//! whoever calls.
//!
//! A [`SessionLine`] is what the rest of the site knows of a session's page, a [`ScenarioView`] what a
//! scenario's page shows. Pages know each other by their paths from the site's root and link to each other
//! relative to where they are, so that a site works below any address and from disk. Whoever calls has
//! made the paths from hostile names; here they are taken as they are.

mod standing;
mod session;
mod frame;
mod trends;
mod list;
mod scenario;
mod index;
mod badge;
mod feed;
#[cfg(test)]
mod fixture;

pub use self::badge::badge;
pub use self::feed::feed;
pub use self::frame::Page;
pub use self::index::{IndexView, ScenarioLine, index};
pub use self::list::{ListView, list};
pub use self::scenario::{LineageLink, ScenarioView, scenario};
pub use self::session::{Figure, SessionLine, session_page};
pub use self::standing::Standing;
pub use self::trends::{Annotation, ChangeLine, LineageView};
