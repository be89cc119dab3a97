package main

import "time"

// meter reads the processor time that somebody has used so far.
type meter func() (time.Duration, error)

// cpu says what n events cost in processor time from now on: the machine's noise
// takes no part in it.
type cpu struct {
	meters map[string]meter
	before map[string]time.Duration
}

func startCPU(meters map[string]meter) (*cpu, error) {
	c := &cpu{meters: meters, before: make(map[string]time.Duration)}
	for name, read := range meters {
		used, err := read()
		if err != nil {
			return nil, err
		}
		c.before[name] = used
	}
	return c, nil
}

// perEvent adds what each has used since, in milliseconds per event.
func (c *cpu) perEvent(n int, into figures) error {
	for name, read := range c.meters {
		used, err := read()
		if err != nil {
			return err
		}
		into[name] = float64((used - c.before[name]).Microseconds()) / 1000 / float64(n)
	}
	return nil
}
