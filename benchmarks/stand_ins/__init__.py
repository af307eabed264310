"""What most bridges to Dify are like, written for comparison: no project of anybody's."""
