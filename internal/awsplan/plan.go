package awsplan

// What a Step does. Whoever carries one out gives it Parameters and what Feeds bring, under the names that stand
// here. All of it may be done again: what is so already is done.
const (
	// DoStack makes a stack, or updates it if it is there and has another template or other parameters.
	DoStack = "stack"
	// DoAccept accepts the peering of Transit Gateways Attachment in the Step's Region, and waits until it is
	// available.
	DoAccept = "accept-transit-gateway-peering"
	// DoWaitGlobal waits until the Global Datastore Global is available (or primary-only), and its members
	// are associated: before the next one joins.
	DoWaitGlobal = "wait-global-available"
	// DoReadEndpoints asks ARC's control plane, in us-west-2, for the five endpoints of Cluster. What it
	// finds is an output Endpoints of the Step's Stack, though the stack has none of that name:
	// region=url of each, sorted, with commas between.
	DoReadEndpoints = "read-cluster-endpoints"
	// DoTurnOn turns the routing control Control on, at one of Endpoints, if all of Controls, with commas between,
	// are off. If one is on it does nothing: whose it is has been decided since.
	DoTurnOn = "turn-on-control"

	// DoDelete deletes a stack; one that is not there is deleted.
	DoDelete = "delete-stack"
	// DoDisassociate takes all members of Global out of it but the one that is the primary now, and waits.
	DoDisassociate = "disassociate-secondaries"
	// DoDeleteGlobal deletes Global, retaining the primary's group, and waits.
	DoDeleteGlobal = "delete-global"
	// DoDeleteGroup deletes the replication group Group in the Step's Region, and waits. With Snapshot it takes
	// a last one of that name: in each Region, since which of them has the newest data is known only later.
	DoDeleteGroup = "delete-group"
	// DoDeleteTable takes the protection of the table Table in all Regions away and deletes it, its replicas first.
	DoDeleteTable = "delete-table"
	// DoDeleteCluster takes the protection of DSQL's cluster Cluster in the Step's Region away and deletes it.
	DoDeleteCluster = "delete-cluster"
	// DoEmptyZone deletes all records of the zone Zone but its SOA and NS: the reconciler's, which no stack has.
	DoEmptyZone = "empty-zone"
)

// A Step is one thing to do, in order. A stack may stand in a plan twice: the second time it is an update with
// more parameters, such as DSQL's two passes, or a network that comes to know of its peerings.
type Step struct {
	// Do is DoStack or another.
	Do string `json:"do"`
	// Stack is CloudFormation's name, <deployment>-<part>. Of other Steps than DoStack and DoDelete it is the
	// stack that they are about.
	Stack string `json:"stack,omitempty"`
	// Region is where the stack is, or where the request goes to.
	Region string `json:"region"`
	// Template is a file of deploy/aws: network.yaml.
	Template string `json:"template,omitempty"`
	// Parameters of the stack or the action that are known already. Neither here nor in Feeds: what the stack
	// has, and what the template says where it is new. So the first of DSQL's passes, carried out again, takes nothing back.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Feeds are the others.
	Feeds []Feed `json:"feeds,omitempty"`
	// Capabilities that CreateStack is to be told of, such as CAPABILITY_NAMED_IAM.
	Capabilities []string `json:"capabilities,omitempty"`
	// Policy is a file of deploy/aws: what no update may do to the stack. Empty: it may do all.
	Policy string `json:"policy,omitempty"`
	// Roles says that the stack holds what a failover changes, though no failover changes the stack: a group or
	// the Global Datastore. It is not updated without somebody's word.
	Roles bool `json:"roles,omitempty"`
	// Why is for people: one sentence.
	Why string `json:"why"`
}

// A Feed is a parameter that an output of an earlier stack fills. Several Feeds of one Parameter are put
// together in their order, with commas between.
type Feed struct {
	Parameter string `json:"parameter"`
	Stack     string `json:"stack"`
	Region    string `json:"region"`
	Output    string `json:"output"`
}

// A Plan is what makes a deployment of Settings.
type Plan struct {
	// Name is the deployment's.
	Name string `json:"name"`
	// Steps in order.
	Steps []Step `json:"steps"`
	// Advice is what somebody should know before: what was chosen and could be otherwise, what must be there
	// already, what it can't do. One sentence or two each.
	Advice []string `json:"advice"`
	// Billable is what AWS asks money for while the deployment is there.
	Billable []string `json:"billable"`

	undo    []Step
	remains []Remain
}

// A Remain is what is there after Undo, and costs something.
type Remain struct {
	// Type is CloudFormation's: AWS::KMS::Key.
	Type string `json:"type"`
	// Region is where it is.
	Region string `json:"region"`
	// ID is its name or ID; if it is not known before, Feed says which output has it. Read those before
	// Undo.
	ID   string `json:"id,omitempty"`
	Feed Feed   `json:"feed,omitzero"`
	// Why it is there, and how it goes.
	Why string `json:"why"`
}

// Undo returns what takes a deployment away, in order: the stacks from the last to the first, and before the caches'
// their members out of the Global Datastore, the Global Datastore, and the groups. What Settings.Retain keeps is
// left out, with the stacks that it needs. A Step whose Feeds are of a stack that is not there is done. A group that
// Undo deletes is retained by its stack, which is deleted after it.
func (p Plan) Undo() []Step { return p.undo }

// Remains returns what Undo leaves that costs something.
func (p Plan) Remains() []Remain { return p.remains }
