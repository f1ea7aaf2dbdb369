//! Commands whose answer several threads know a part of.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use ballast_protocol::{Args, Reply};
use tokio::sync::oneshot;

use crate::commands::session::Session;
use crate::commands::table::CommandResult;
use crate::ids::ShardId;
use crate::shard::message::Message;
use crate::shard::{Shard, ShardState};

/// The future of a gathering command.
pub(crate) type Gathered<'a> = Pin<Box<dyn Future<Output = CommandResult> + 'a>>;

/// The handler of a gathering command.
pub(crate) type Gather = for<'a> fn(Gathering<'a>, Args<'a>, &'a mut Reply) -> Gathered<'a>;

/// What such a handler sees.
pub(crate) struct Gathering<'a> {
    /// The connection's shard.
    pub(crate) shard: &'a Rc<Shard>,
    /// The connection.
    pub(crate) session: &'a mut Session,
}

impl Gathering<'_> {
    /// Runs `work` on every shard's thread and collects the answers in the order of the shards.
    pub(crate) async fn each_shard<T: Send + 'static>(
        &self,
        work: impl Fn(&mut ShardState) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let shards = self.shard.shared.shards();
        let mut answers = Vec::with_capacity(usize::from(shards));
        for shard in 0..shards {
            answers.push(ask(self.shard, ShardId(shard), work.clone()));
        }
        let mut collected = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Answer::Here(value) => collected.push(value),
                Answer::Coming(coming) => {
                    if let Ok(value) = coming.await {
                        collected.push(value);
                    }
                }
            }
        }
        collected
    }

    /// Runs `work` on the thread of one shard. `None` only if that thread is ending.
    pub(crate) async fn on_shard<T: Send + 'static>(
        &self,
        shard: ShardId,
        work: impl FnOnce(&mut ShardState) -> T + Send + 'static,
    ) -> Option<T> {
        match ask(self.shard, shard, work) {
            Answer::Here(value) => Some(value),
            Answer::Coming(coming) => coming.await.ok(),
        }
    }
}

enum Answer<T> {
    Here(T),
    Coming(oneshot::Receiver<T>),
}

fn ask<T: Send + 'static>(
    own: &Rc<Shard>,
    shard: ShardId,
    work: impl FnOnce(&mut ShardState) -> T + Send + 'static,
) -> Answer<T> {
    if shard == own.id {
        return Answer::Here(work(&mut own.state()));
    }
    let (sender, receiver) = oneshot::channel();
    let call = move |state: &mut ShardState| {
        // The asking connection may have gone.
        let _ = sender.send(work(state));
    };
    own.state().send(shard, Message::Call(Box::new(call)));
    Answer::Coming(receiver)
}
