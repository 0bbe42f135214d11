package dynamo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/roam-sessions/roam/engine"
)

// A Finding is something about a table that should be otherwise.
type Finding struct {
	// Fatal: sessions would be lost, or can't be kept there, so Open refuses it.
	Fatal bool
	// What is the matter, and how it is mended.
	What, Mend string
}

// A Table is what DynamoDB says of one.
type Table struct {
	// Status as DynamoDB says it, such as ACTIVE.
	Status string
	// Regions is how many have a copy of it.
	Regions int
	// Strong: it is strongly consistent in all of them.
	Strong bool
	// Took is how long DynamoDB took to answer.
	Took     time.Duration
	Findings []Finding
}

// Examine asks about the table of c, and changes nothing there. It takes no more rights
// than Open does.
func Examine(ctx context.Context, c Config) (Table, error) {
	c = c.withDefaults()
	out, err := examine(ctx, c)
	if err != nil {
		return Table{}, fmt.Errorf("examine table %s: %w", c.Table, err)
	}
	return out, nil
}

func examine(ctx context.Context, c Config) (out Table, err error) {
	if err := c.check(1); err != nil { // whichever Region it is
		return out, err
	}
	t, err := connect(ctx, c)
	if err != nil {
		return out, err
	}
	defer t.close()
	d, err := t.describe(ctx)
	if err != nil {
		return out, err
	}
	if d == nil {
		return out, errNoTable
	}
	asked := time.Now() // by now there is a connection
	ttl, err := t.describeTTL(ctx)
	out = Table{
		Status: string(d.TableStatus), Regions: regionsOf(d, c.Region), Strong: isStrong(d), Took: time.Since(asked), Findings: unfit(d, c.Strong),
	}
	switch {
	case out.Strong: // it has no time to live
	case err != nil:
		out.Findings = append(out.Findings, Finding{What: fmt.Sprintf("its time to live was not looked at: %v", err), Mend: "allow dynamodb:DescribeTimeToLive"})
	case !deletes(ttl):
		out.Findings = append(out.Findings, Finding{What: "it deletes nothing that is past its time", Mend: "turn on time to live, by the attribute " + attrExpiry})
	}
	return out, nil
}

// errNoTable: DynamoDB answered with nothing.
var errNoTable = fmt.Errorf("%w: an answer without a table", engine.ErrUnreachable)

// isStrong reports whether a table is strongly consistent in all its Regions.
func isStrong(d *types.TableDescription) bool {
	return d.MultiRegionConsistency == types.MultiRegionConsistencyStrong
}

// regionsOf returns how many Regions have a copy of a table, the one that was asked
// among them.
func regionsOf(d *types.TableDescription, asked string) int {
	n := 1
	for _, r := range d.Replicas {
		if aws.ToString(r.RegionName) != asked {
			n++
		}
	}
	return n
}

// fitDescription returns why a table can't be used, if it can't: now, or as it is.
func fitDescription(d *types.TableDescription, strong bool) error {
	if d == nil {
		return errNoTable
	}
	if s := d.TableStatus; s != types.TableStatusActive && s != types.TableStatusUpdating {
		return fmt.Errorf("%w: it is %s", engine.ErrUnreachable, s)
	}
	var faults []error
	for _, f := range unfit(d, strong) {
		faults = append(faults, fmt.Errorf("%w: %s: %s", ErrUnfit, f.What, f.Mend))
	}
	return errors.Join(faults...)
}

// unfit returns why sessions can't be kept in a table.
func unfit(d *types.TableDescription, strong bool) (out []Finding) {
	want := []types.KeySchemaElement{
		{AttributeName: aws.String(attrKey), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(attrWriter), KeyType: types.KeyTypeRange},
	}
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range d.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	keyed := len(d.KeySchema) == len(want)
	for i := 0; keyed && i < len(want); i++ {
		keyed = aws.ToString(d.KeySchema[i].AttributeName) == *want[i].AttributeName && d.KeySchema[i].KeyType == want[i].KeyType
	}
	if !keyed || kinds[attrKey] != types.ScalarAttributeTypeS || kinds[attrWriter] != types.ScalarAttributeTypeN {
		out = append(out, Finding{
			Fatal: true, What: "its keys are others",
			Mend: fmt.Sprintf("make one with partition key %s of type S, sort key %s of type N", attrKey, attrWriter),
		})
	}
	if aws.ToString(d.GlobalTableVersion) == "2017.11.29" {
		out = append(out, Finding{Fatal: true, What: "it is a Global Table of version 2017.11.29", Mend: "update it to 2019.11.21"})
	}
	if strong && len(d.Replicas) > 0 && !isStrong(d) {
		out = append(out, Finding{
			Fatal: true, What: "Strong is set, and the table is eventually consistent: of two Regions' writes one would be lost",
			Mend: "take Strong away, or make a table of strong consistency",
		})
	}
	return out
}
