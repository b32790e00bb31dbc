//! What hostile clients can send, for the fuzzer.

use super::dialogue::{self, Lines, Request, Wording};
use super::show::Show;
use super::xml;

/// Command lines: the same for any chunking; every answer is whole lines, and the document stays well-formed.
pub fn simulator_commands(data: &[u8]) {
    let whole = Lines::default().push(data);
    let mut lines = Lines::default();
    let pieces: Result<Vec<Vec<Request>>, _> = data.chunks(3).map(|piece| lines.push(piece)).collect();
    assert_eq!(whole, pieces.map(|pieces| pieces.concat()));
    let mut show = Show::studio();
    for request in whole.into_iter().flatten() {
        if let Request::Function(name, arguments) = &request {
            show.apply(name, arguments);
        }
        let answer = dialogue::answer(&request, &show, Wording::Vmix);
        assert!(answer.ends_with("\r\n"));
        assert_eq!(show.tally().len(), show.inputs.len());
    }
    assert!(xml::text_at(&xml::document(&show), "vmix/version").is_some());
}
