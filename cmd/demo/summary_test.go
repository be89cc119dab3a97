package main

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheckFindsWhatIsWrong(t *testing.T) {
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	rejected := listed(ids)
	assert.Equal(t, map[string]bool{"9": true, "19": true}, rejected)

	good := func() account {
		a := account{delivered: map[string]int{}, seen: map[string]bool{}, dead: map[string]bool{}}
		for _, id := range ids {
			a.seen[id] = true
			if rejected[id] {
				a.dead[id] = true
			} else {
				a.delivered[id] = 1
			}
		}
		return a
	}
	assert.Empty(t, good().check(compliance, ids, rejected))
	assert.Equal(t, 20, good().settled())
	assert.Len(t, good().check(analytics, ids, rejected), 4, "elsewhere nothing is rejected")

	twice := good()
	twice.delivered["3"] = 2
	assert.Equal(t, []string{"compliance-service: event 3 was delivered 2 times, want 1"}, twice.check(compliance, ids, rejected))

	lost := good()
	delete(lost.delivered, "3")
	assert.Len(t, lost.check(compliance, ids, rejected), 1)
	assert.Equal(t, 1, lost.retrying())

	unrecorded := good()
	delete(unrecorded.dead, "9")
	assert.Len(t, unrecorded.check(compliance, ids, rejected), 1)

	strange := good()
	strange.seen["x"] = true
	assert.Len(t, strange.check(compliance, ids, rejected), 1)
}
