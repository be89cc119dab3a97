package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"genesys-fanout/deadletter"
	"genesys-fanout/replay"
)

// plural returns a number and its noun, such as "2 deliveries".
func plural(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case noun == "delivery":
		return strconv.Itoa(n) + " deliveries"
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func sortedKinds(kinds map[replay.Kind]int) []replay.Kind {
	return slices.SortedFunc(maps.Keys(kinds), func(a, b replay.Kind) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Reason, b.Reason))
	})
}

// compactJSON returns a record as JSON on one line.
func compactJSON(r deadletter.Record) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(r)
	return bytes.TrimSuffix(line.Bytes(), []byte("\n")), err
}
