package fanout

import (
	"math"
	"slices"
	"strings"

	"go.temporal.io/sdk/converter"
)

// Temporal ends a run by itself when something that the run writes is larger
// than a limit of the server, and such a run cannot always be reset. The limits,
// by their names in the server's dynamic configuration, with their defaults:
//
//   - frontend.searchAttributesSizeOfValueLimit, 2,048 bytes for the JSON of one
//     search attribute: attributeLimit.
//   - limit.userMetadataSummarySize, 400 bytes for the payload of a summary, and
//     limit.userMetadataDetailsSize, 20,000 for static details: summaryLimit. Our
//     details hold two words of at most 160 bytes and a topic of at most 249.
//   - system.transactionSizeLimit, 4 MiB for all events of one workflow task, and
//     gRPC's 4 MiB for the request that completes it: InlineTotal.
//   - limit.mutableStateSize.error, 8 MiB for the state that the server keeps of
//     an open run. A delivery that waits for its next attempt takes 4 KiB for its
//     failure, which the server cuts (limit.mutableStateActivityFailureSize.error),
//     5 KB for its progress and 1 KB of its own: 1 MB for 100 targets.
//   - limit.blobSize.error, 2 MiB for one payload or failure. The failure of a run
//     has at most two lines of 300 bytes for each target: 60 KB.
//   - limit.memoSize.error, 2 MiB. Our memo holds a few words, and that of a
//     replay 90 bytes for each target: 9 KB.
//   - limit.historySize.error, 50 MiB. A delivery with an error of the longest kind
//     adds its marker, two activities with their inputs and a failure: 40 KB, or 4
//     MB for 100 targets, to an input of at most 1.9 MiB.
const (
	// attributeLimit is what the JSON array of DeadLetterTargets may take, in
	// bytes. The rest of the server's 2,048 is left to a namespace that allows
	// less, as a cloud may.
	attributeLimit = 1900

	// summaryLimit is what the JSON string of a summary may take, in bytes. Of the
	// server's 400 the payload's metadata takes 27; the rest is left to a codec.
	summaryLimit = 300

	// shortError is how much of an error stands in a summary or a verdict, in bytes.
	shortError = 200

	// ErrorLimit is how much of an error a run keeps, in bytes: the 2 KiB that a
	// first attempt quotes of an answer, and what is written around it.
	ErrorLimit = 4 << 10

	// InlineBody is the largest message that travels in activity inputs, in bytes.
	// A larger one is read from the run's history by the activity.
	InlineBody = 128 << 10

	// InlineTotal is what the inputs of one workflow task may carry of the message,
	// as JSON in bytes. The rest of the 4 MiB is for 100 targets whose first
	// attempts fail: 5 KB for the marker of each, 10 KB for the input of its next
	// activity, 1 KB for names, policy and summary, and 9 KB if the query
	// deliveries is answered with the same task. An error is counted twice as long
	// as it is, since JSON escapes quotes and line breaks with a second byte. That
	// is 2.5 MB and, with 1 MiB, 3.6 MB.
	InlineTotal = 1 << 20
)

// MoreTargets is the last member of DeadLetterTargets if the attribute has no room for
// all names. No target has this name.
const MoreTargets = "…"

// FittingTargets returns the sorted names if their JSON array takes at most
// attributeLimit, and else as many of the first ones as leave room for MoreTargets.
func FittingTargets(names []string) []string {
	size := len("[]") - len(",")
	fit := 0 // how many names leave room for MoreTargets
	for i, name := range names {
		size += AttributeSize(name) + len(",")
		if size+AttributeSize(MoreTargets)+len(",") <= attributeLimit {
			fit = i + 1
		}
	}
	if size <= attributeLimit {
		return names
	}
	return append(slices.Clone(names[:fit]), MoreTargets)
}

// AttributeSize is how long a value is as a search attribute, in bytes: the SDK
// encodes those with its own converter.
func AttributeSize(value any) int { return encodedSize(converter.GetDefaultDataConverter(), value) }

// PayloadSize is how long a value is in an activity's input or a summary, in
// bytes.
func PayloadSize(value any) int { return encodedSize(DataConverter(), value) }

func encodedSize(c converter.DataConverter, value any) int {
	payload, err := c.ToPayload(value)
	if err != nil {
		return math.MaxInt // it fits nowhere
	}
	return len(payload.GetData())
}

// Summarize is a line for Temporal UI, cut to summaryLimit.
func Summarize(line string) string {
	fit := line
	for size := PayloadSize(fit); size > summaryLimit; size = PayloadSize(fit) {
		// No byte takes more than six, so this cuts off no more than needed.
		line = Cut(line, len(line)-max(1, (size-summaryLimit)/6))
		fit = line + "…"
	}
	return fit
}

// Short is the beginning of an error, for a summary or a verdict.
func Short(text string) string {
	if len(text) <= shortError {
		return text
	}
	return Cut(text, shortError) + "…"
}

// Cut is the beginning of a text, at most size bytes of whole characters.
func Cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size], "")
}
