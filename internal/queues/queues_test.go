package queues

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// 500 open runs of 100 targets would take more than a gigabyte.
func TestCacheSize_IsSmallerWithManyTargets(t *testing.T) {
	for targets, want := range map[int]int{1: 500, 3: 500, 8: 500, 16: 250, 100: 40} {
		assert.Equal(t, want, cacheSize(targets), "%d targets", targets)
	}
}
