// Package failpoint ends or delays a process at the places where a crash hurts most, for tests of
// what the process promises there. Only a binary that is built with the tag failpoints has
// failpoints. In every other one Reach is an empty function, which the compiler removes.
//
// The environment variable FAILPOINTS arms failpoints, separated by commas:
//
//	tracker.renamed=kill          kill the process with SIGKILL when it reaches the place
//	attempt.answered=kill@5       when it reaches the place for the 5th time
//	tracker.written=sleep(500ms)  wait each time
//
// A failpoint that kills prints one line on stderr before it does.
//
// go.etcd.io/gofail is not used, because its panic is recovered by the Temporal SDK, and because it
// changes the sources for a build.
package failpoint

// Name is the name of a failpoint.
type Name string

// The failpoints.
const (
	// StartAccepted: Temporal has accepted the run of a message, and the offset is not committed.
	StartAccepted Name = "start.accepted"

	// AttemptBegun: Temporal has acknowledged that an attempt of the retry lane begins, and the
	// request is not sent.
	AttemptBegun Name = "attempt.begun"

	// AttemptAnswered: the target has answered an attempt of either lane, and nothing is written.
	AttemptAnswered Name = "attempt.answered"

	// AttemptWritten: the outcome of a failed attempt of the retry lane is in the heartbeat, and the
	// activity has not ended.
	AttemptWritten Name = "attempt.written"

	// TrackerWritten: the temporary file of a record is written, and has no name that readers look for.
	TrackerWritten Name = "tracker.written"

	// TrackerLinked: the older record is in superseded/, and the newer one does not replace it yet.
	TrackerLinked Name = "tracker.linked"

	// TrackerRenamed: a record has its name, and the directory is not synced.
	TrackerRenamed Name = "tracker.renamed"

	// TrackerClosed: a record is in resolved/ or discarded/, and the open one is not removed.
	TrackerClosed Name = "tracker.closed"
)

// Names returns all failpoints.
func Names() []Name {
	return []Name{StartAccepted, AttemptBegun, AttemptAnswered, AttemptWritten, TrackerWritten, TrackerLinked, TrackerRenamed, TrackerClosed}
}
