package ingest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPlace(t *testing.T) {
	old, now := topicID{Cluster: "c", Topic: "old"}, topicID{Cluster: "c", Topic: "now"}
	for name, test := range map[string]struct {
		facts situation
		want  placement
	}{
		"a commit":                        {situation{committed: 10, start: 0, end: 50, stamp: now, topic: now}, placement{from: 10}},
		"a commit at the end":             {situation{committed: 50, start: 0, end: 50}, placement{from: 50}},
		"no commit, earliest":             {situation{committed: -1, start: 5, end: 50}, placement{from: 5}},
		"no commit, latest":               {situation{committed: -1, start: 5, end: 50, latest: true}, placement{from: 50}},
		"dropped":                         {situation{committed: 10, start: 30, end: 50}, placement{from: 30, skipped: 20}},
		"dropped, latest":                 {situation{committed: 10, start: 30, end: 50, latest: true}, placement{from: 30, skipped: 20}},
		"everything dropped":              {situation{committed: 10, start: 50, end: 50}, placement{from: 50, skipped: 40}},
		"beyond the end":                  {situation{committed: 51, start: 5, end: 50}, placement{from: 5, beyond: true}},
		"beyond the end, latest":          {situation{committed: 51, start: 5, end: 50, latest: true}, placement{from: 5, beyond: true}},
		"another topic":                   {situation{committed: 20, stamp: old, topic: now, start: 2, end: 50}, placement{from: 2, replaced: true}},
		"another topic, latest":           {situation{committed: 20, stamp: old, topic: now, end: 50, latest: true}, placement{replaced: true}},
		"another cluster":                 {situation{committed: 20, stamp: topicID{Cluster: "d", Topic: "now"}, topic: now, end: 50}, placement{replaced: true}},
		"no metadata, and remembered":     {situation{committed: 20, remembered: old, topic: now, end: 50}, placement{replaced: true}},
		"no commit, and remembered":       {situation{committed: -1, remembered: old, topic: now, end: 50, latest: true}, placement{replaced: true}},
		"the commit knows it better":      {situation{committed: 20, stamp: now, remembered: old, topic: now, end: 50}, placement{from: 20}},
		"no metadata and none remembered": {situation{committed: 20, topic: now, end: 50}, placement{from: 20}},
		"a broker without topic ids":      {situation{committed: 20, stamp: old, end: 50}, placement{from: 20}},
	} {
		assert.Equal(t, test.want, place(test.facts), name)
	}
}
