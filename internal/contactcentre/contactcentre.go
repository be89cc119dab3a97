// Package contactcentre makes up the events of a contact centre. Conversations
// arrive as a Poisson process, on several channels, each with its events in
// order; agents' presence and audits come between them. The messages are those
// of package shapes, filled anew.
//
// Time is compressed: a conversation takes half a minute, so that a short run
// sees whole ones. The package refuses to surprise: the same seed gives the same
// events.
package contactcentre

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Event is one message as it stands on the topic.
type Event struct {
	ID             string
	ConversationID string    // the key, so that a conversation stays on one partition; empty where there is none
	At             time.Time // when it happens
	Message        []byte
}

const (
	// betweenArrivals is the mean time between two conversations, betweenEvents
	// that between two events of one. Some fifteen are open at a time, and five
	// or six events happen in a second.
	betweenArrivals = 2 * time.Second
	betweenEvents   = 2 * time.Second

	// betweenOthers is the mean time between two events of no conversation.
	betweenOthers = 4 * time.Second
)

// Centre makes events. It is not safe for concurrent use.
type Centre struct {
	random  *rand.Rand
	arrival time.Time // of the next conversation
	other   time.Time // when the next event of none happens
	open    []*conversation
	agents  []string
	queues  []string
}

// conversation is one that is under way.
type conversation struct {
	course
	id   string
	next time.Time         // when its next event happens
	ids  map[string]string // those of the shapes, and what stands for them in this conversation
}

// course is what happens to a conversation, as the endings of its topics.
type course struct {
	weight    int // of 100 conversations
	media     string
	direction string
	events    []string
}

// courses: most talk to an agent, some leave a message or are called. The shares
// are those of a centre that is mostly a telephone; no public figures were found.
var courses = []course{
	{40, "VOICE", "INBOUND", []string{
		"customer.start", "flow.start", "flow.outcome", "flow.end", "acd.start", "acd.end", "user.start", "contact", "attributes", "transcription", "user.end", "acw", "wrapup", "customer.end",
	}},
	{10, "VOICE", "INBOUND", []string{
		"customer.start", "flow.start", "flow.end", "acd.start", "acd.end", "voicemail.start", "voicemail.end", "customer.end",
	}},
	{10, "VOICE", "OUTBOUND", []string{
		"outbound", "customer.start", "user.start", "attributes", "user.end", "acw", "wrapup", "customer.end",
	}},
	{18, "MESSAGE", "INBOUND", []string{
		"customer.start", "flow.start", "flow.outcome", "flow.end", "acd.start", "acd.end", "user.start", "attributes", "user.end", "wrapup", "customer.end",
	}},
	{12, "EMAIL", "INBOUND", []string{
		"customer.start", "acd.start", "acd.end", "user.start", "attributes", "user.end", "wrapup", "customer.end",
	}},
	{6, "CHAT", "INBOUND", []string{
		"customer.start", "flow.start", "flow.end", "acd.start", "acd.end", "user.start", "user.end", "wrapup", "customer.end",
	}},
	{4, "CALLBACK", "INBOUND", []string{
		"customer.start", "acd.start", "acd.end", "user.start", "user.end", "acw", "wrapup", "customer.end",
	}},
}

// others are the topics without a conversation.
var others = []string{"user", "user", "user", "audit"}

// The sizes of a centre's staff: the same queues and agents come again.
const (
	queueCount = 5
	agentCount = 20
)

// New makes a contact centre that opens at now.
func New(seed uint64, now time.Time) *Centre {
	c := &Centre{random: rand.New(rand.NewPCG(seed, seed)), arrival: now.UTC(), other: now.UTC()}
	for range queueCount {
		c.queues = append(c.queues, c.uuid())
	}
	for range agentCount {
		c.agents = append(c.agents, c.uuid())
	}
	c.other = c.after(c.other, betweenOthers)
	return c
}

// Next is the next event of the contact centre: each happens no earlier than the
// one before.
func (c *Centre) Next() Event {
	for {
		i := c.earliest()
		switch {
		case i >= 0 && !c.open[i].next.After(c.arrival) && !c.open[i].next.After(c.other):
			return c.goOn(i)
		case !c.other.After(c.arrival):
			at := c.other
			c.other = c.after(at, betweenOthers)
			return c.event(nil, others[c.random.IntN(len(others))], at)
		}
		c.arrive()
	}
}

// earliest is the open conversation whose next event comes first, -1 for none.
func (c *Centre) earliest() int {
	first := -1
	for i, talk := range c.open {
		if first < 0 || talk.next.Before(c.open[first].next) {
			first = i
		}
	}
	return first
}

// arrive opens the next conversation.
func (c *Centre) arrive() {
	share := c.random.IntN(100)
	i := 0
	for share >= courses[i].weight {
		share -= courses[i].weight
		i++
	}
	talk := &conversation{course: courses[i], id: c.uuid(), next: c.arrival}
	talk.ids = map[string]string{
		shapeConversation: talk.id,
		shapeQueue:        c.queues[c.random.IntN(len(c.queues))],
		shapeAgent:        c.agents[c.random.IntN(len(c.agents))],
	}
	c.open = append(c.open, talk)
	c.arrival = c.after(c.arrival, betweenArrivals)
}

// goOn makes the next event of an open conversation, and closes it after its last.
func (c *Centre) goOn(i int) Event {
	talk := c.open[i]
	kind, at := talk.events[0], talk.next
	talk.next = c.after(at, betweenEvents)
	if talk.events = talk.events[1:]; len(talk.events) == 0 {
		c.open = slices.Delete(c.open, i, i+1)
	}
	return c.event(talk, kind, at)
}

// after is when a Poisson process with that mean time between its events has its
// next, to the millisecond, as events tell their time.
func (c *Centre) after(at time.Time, mean time.Duration) time.Time {
	return at.Add(time.Duration(c.random.ExpFloat64() * float64(mean))).Truncate(time.Millisecond)
}

// uuid is random by the seed.
func (c *Centre) uuid() string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(c.random.IntN(256))
	}
	id[6], id[8] = id[6]&0x0F|0x40, id[8]&0x3F|0x80 // version 4, RFC 9562
	return id.String()
}
