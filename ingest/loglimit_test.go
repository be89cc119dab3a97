package ingest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLineLimiter_AllowsOneLineOfEachKindIn30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lineLimiter
		var logged []string
		began := time.Now()
		for _, line := range []struct {
			after time.Duration
			kind  string
		}{{0, "a"}, {1, "a"}, {1, "b"}, {29, "a"}, {30, "a"}, {31, "a"}, {3600, "c"}} {
			<-time.After(time.Until(began.Add(line.after * time.Second)))
			if times, due := l.occurred(line.kind); due {
				logged = append(logged, fmt.Sprint(line.kind, times))
			}
		}
		assert.Equal(t, []string{"a1", "b1", "a3", "c1"}, logged)
		for n := range 2 * maxLineKinds {
			l.occurred(fmt.Sprint(n))
		}
		assert.LessOrEqual(t, len(l.kinds), maxLineKinds)
	})
}
