package fanout

import (
	"math"
	"slices"
	"strings"

	"go.temporal.io/sdk/converter"
)

// The limits on what a run writes. If something that the run writes is larger than a limit
// of the server, Temporal ends the run by itself, and such a run cannot always be reset.
// The server's limits, by their names in its dynamic configuration, with their defaults:
//
//   - frontend.searchAttributesSizeOfValueLimit, 2,048 bytes for the JSON of one search
//     attribute. attributeLimit stays below it.
//   - limit.userMetadataSummarySize, 400 bytes for the payload of a summary, and
//     limit.userMetadataDetailsSize, 20,000 for static details. summaryLimit stays below
//     the first. Our details contain two strings of at most 160 bytes and a topic of at
//     most 249.
//   - system.transactionSizeLimit, 4 MiB for all events of one workflow task, and gRPC's
//     4 MiB for the request that completes the task. InlineTotal stays below both.
//   - limit.mutableStateSize.error, 8 MiB for the state that the server keeps of an open
//     run. A delivery that waits for its next attempt takes 4 KiB for its failure, which
//     the server cuts (limit.mutableStateActivityFailureSize.error), 5 KB for its progress
//     and 1 KB of its own. That is 1 MB for 100 targets.
//   - limit.blobSize.error, 2 MiB for one payload or failure. startLimit, in start.go, keeps
//     the input of a run below it. The failure of a run has at most two lines of 300 bytes
//     for each target, which is 60 KB.
//   - limit.memoSize.error, 2 MiB. Our memo contains a few short strings, and that of
//     a replay 90 bytes for each target, which is 9 KB.
//   - limit.historySize.error, 50 MiB. A delivery with an error of the longest kind adds
//     its marker, two activities with their inputs, and a failure: 40 KB, or 4 MB for 100
//     targets. The input adds at most 1.9 MiB.
const (
	// attributeLimit is the largest JSON array of DeadLetterTargets, in bytes. It stays
	// below the server's 2,048, because a namespace may allow less, for example in a
	// cloud.
	attributeLimit = 1900

	// summaryLimit is the largest JSON string of a summary, in bytes. The payload's
	// metadata takes 27 of the server's 400 bytes; the rest is room for a codec.
	summaryLimit = 300

	// shortError is how much of an error a summary or the run's failure message contains, in
	// bytes.
	shortError = 200

	// ErrorLimit is how much of an error a run keeps, in bytes. It has room for the 2 KiB
	// that a first attempt quotes of an answer, and for the text around the quotation.
	ErrorLimit = 4 << 10

	// InlineBody is the largest message that activity inputs carry, in bytes. The activity
	// reads a larger one from the run's history.
	InlineBody = 128 << 10

	// InlineTotal is how much of the message the inputs of one workflow task may carry,
	// as JSON in bytes. The rest of the 4 MiB is for 100 targets whose first attempts
	// fail: 5 KB for the marker of each, 10 KB for the input of its next activity, 1 KB
	// for names, policy and summary, and 9 KB if the query deliveries is answered with
	// the same task. An error counts twice its length, because JSON escapes quotes and
	// line breaks with a second byte. That is 2.5 MB, and with this 1 MiB 3.6 MB.
	InlineTotal = 1 << 20
)

// MoreTargets is the last member of DeadLetterTargets if the attribute has no room for
// all names. No target has this name.
const MoreTargets = "…"

// FittingTargets returns the sorted names if their JSON array has at most attributeLimit
// bytes. Otherwise it returns as many of the first names as leave room for MoreTargets,
// followed by MoreTargets.
func FittingTargets(names []string) []string {
	size := len("[]") - len(",")
	fit := 0 // how many names leave room for MoreTargets
	for i, name := range names {
		size += attributeSize(name) + len(",")
		if size+attributeSize(MoreTargets)+len(",") <= attributeLimit {
			fit = i + 1
		}
	}
	if size <= attributeLimit {
		return names
	}
	return append(slices.Clone(names[:fit]), MoreTargets)
}

// attributeSize returns the length of a value as a search attribute, in bytes. The SDK
// encodes search attributes with its own converter.
func attributeSize(value any) int { return encodedSize(converter.GetDefaultDataConverter(), value) }

// PayloadSize returns the length of a value in an activity's input or in a summary, in
// bytes.
func PayloadSize(value any) int { return encodedSize(DataConverter(), value) }

func encodedSize(c converter.DataConverter, value any) int {
	payload, err := c.ToPayload(value)
	if err != nil {
		return math.MaxInt // it fits nowhere
	}
	return len(payload.GetData())
}

// Summarize cuts a line for Temporal UI to summaryLimit. A line that was cut ends with "…".
func Summarize(line string) string {
	fit := line
	for size := PayloadSize(fit); size > summaryLimit; size = PayloadSize(fit) {
		// A byte takes at most six bytes as JSON. Removing n bytes shortens the JSON by at
		// most 6n, so cutting size/6 never overshoots.
		line = Cut(line, len(line)-max(1, (size-summaryLimit)/6))
		fit = line + "…"
	}
	return fit
}

// Short returns the beginning of an error, for a summary or the run's failure message.
func Short(text string) string {
	if len(text) <= shortError {
		return text
	}
	return Cut(text, shortError) + "…"
}

// Cut returns the beginning of a text: whole characters of at most size bytes in all.
func Cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size], "")
}
